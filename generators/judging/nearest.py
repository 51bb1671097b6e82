"""Search for the nearest of many vectors, with exact distances among near-copies."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array
from catalog.errors import LayoutMismatch

BLOCK = 512
"""Number of points whose products with all others are held at once."""
SPARE = 6
"""Number of candidates, beyond those requested, whose distances are computed in float64."""
EXACT = 1 << 23
"""Number of values of the differences that are held at once: 64 MiB."""


class Others:
    """Vectors (m, d) that many points are compared with.

    They are centred once, which doubles the memory.

    Attributes
    ----------
    vectors, centred : ndarray of shape (m, d)
        The vectors, and the vectors minus their mean.
    centre : ndarray of shape (d,)
        Mean of the vectors.
    squares : ndarray of shape (m,)
        Squared norms of the centred vectors.
    """

    def __init__(self, vectors: Array) -> None:
        self.vectors = vectors
        self.centre = vectors.mean(0, dtype=np.float64).astype(np.float32)
        self.centred = np.subtract(vectors, self.centre, dtype=np.float32)
        self.squares = np.einsum("ij,ij->i", self.centred, self.centred)


def nearest(
    points: Array,
    others: Array | Others,
    *,
    count: int = 2,
    runs: Array | None = None,
    other_runs: Array | None = None,
) -> tuple[Array, Array]:
    """Return the Euclidean distances to the nearest other vectors, and their rows.

    Products of centred float32 matrices find a few candidates; their distances are then
    summed in float64 from the differences. So a copy at a thousandth of the norm has the
    correct distance, which the products alone would lose to rounding.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        Vectors whose neighbours are searched.
    others : ndarray of shape (m, d), or Others
        Vectors that may be neighbours.
    count : int, default=2
        Number of nearest vectors.
    runs, other_runs : ndarray of int, optional
        Run of each point and of each other vector: vectors of the same run are excluded.

    Returns
    -------
    distances : ndarray of shape (n, count), float64
        Rising distances; infinite where there are fewer others.
    rows : ndarray of shape (n, count), int64
        Rows of ``others``.

    Raises
    ------
    LayoutMismatch
        If the vectors have different lengths, or there are no others.

    Examples
    --------
    >>> near, rows = nearest(np.float32([[0, 0]]), np.float32([[0, 1], [3, 4]]))
    >>> near.tolist(), rows.tolist()
    ([[1.0, 5.0]], [[0, 1]])
    """
    shape = (others.vectors if isinstance(others, Others) else others).shape
    if points.shape[1:] != shape[1:] or not shape[0]:
        raise LayoutMismatch(
            f"Points and others must be vectors of one length, and there must be at least "
            f"one other. Got shapes {points.shape} and {shape}."
        )
    centred_others = others if isinstance(others, Others) else Others(others)
    n, m = len(points), shape[0]
    candidate_count = min(m, count + SPARE)
    distances = np.full((n, count), np.inf)
    rows = np.zeros((n, count), np.int64)
    for start in range(0, n, BLOCK):
        part = slice(start, min(start + BLOCK, n))
        centred_points = np.subtract(points[part], centred_others.centre, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # overflow means far
            order = centred_others.squares - 2 * (centred_points @ centred_others.centred.T)
        np.nan_to_num(order, copy=False, nan=np.inf)
        if runs is not None and other_runs is not None:
            order[runs[part, None] == other_runs] = np.inf
        candidates = np.argpartition(order, candidate_count - 1, axis=1)[
            :, :candidate_count
        ]
        is_excluded = ~np.isfinite(np.take_along_axis(order, candidates, 1))
        exact = _distances(points[part], centred_others.vectors, candidates)
        exact[is_excluded] = np.inf
        best = np.argsort(exact, axis=1, kind="stable")[:, :count]
        available = best.shape[1]
        distances[part, :available] = np.take_along_axis(exact, best, 1)
        rows[part, :available] = np.take_along_axis(candidates, best, 1)
    return distances, rows


def _distances(points: Array, others: Array, candidates: Array) -> Array:
    """Return the distances (n, k) from each point to its candidates, in float64."""
    distances = np.empty(candidates.shape)
    step = max(1, EXACT // max(candidates.shape[1] * points.shape[1], 1))
    for start in range(0, len(points), step):
        part = slice(start, start + step)
        differences = others[candidates[part]].astype(np.float64) - points[part, None]
        distances[part] = np.sqrt(np.einsum("nkd,nkd->nk", differences, differences))
    return distances
