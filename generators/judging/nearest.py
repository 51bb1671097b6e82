"""The nearest of many vectors, exactly where it matters: among near-copies."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array
from catalog.errors import LayoutMismatch

BLOCK = 512
"""Points whose products with all others are held at once."""
SPARE = 6
"""Candidates beyond those asked for whose distances are found in float64."""
EXACT = 1 << 23
"""Values of the differences that are held at once: 64 MiB."""


class Others:
    """Vectors (m, d) that many points are compared with, centred once: twice the memory.

    Attributes
    ----------
    vectors, centred : ndarray of shape (m, d)
    centre : ndarray of shape (d,)
    squares : ndarray of shape (m,)
        Squared norms of the centred ones.
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
    """Euclidean distances to the nearest other vectors, and which these are.

    Products of centred float32 matrices find a few candidates; their distances are then
    summed in float64 from the differences. So a copy at a thousandth of the norm has the
    right distance, which the products alone would round away.

    Parameters
    ----------
    points : ndarray of shape (n, d)
    others : ndarray of shape (m, d), or Others
    count : int, default=2
        How many of the nearest.
    runs, other_runs : ndarray of int, optional
        Which run each is of: vectors of the same run are left out.

    Returns
    -------
    distances : ndarray of shape (n, count), float64
        Rising; infinite where there are fewer others.
    rows : ndarray of shape (n, count), int64
        Of ``others``.

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
            f"Distances are between vectors of one length, to one at least. Got "
            f"{points.shape} and {shape}."
        )
    known = others if isinstance(others, Others) else Others(others)
    n, m = len(points), shape[0]
    wide = min(m, count + SPARE)
    distances = np.full((n, count), np.inf)
    rows = np.zeros((n, count), np.int64)
    for start in range(0, n, BLOCK):
        part = slice(start, min(start + BLOCK, n))
        moved = np.subtract(points[part], known.centre, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # what is so far is far
            order = known.squares - 2 * (moved @ known.centred.T)
        np.nan_to_num(order, copy=False, nan=np.inf)
        if runs is not None and other_runs is not None:
            order[runs[part, None] == other_runs] = np.inf
        picked = np.argpartition(order, wide - 1, axis=1)[:, :wide]
        barred = ~np.isfinite(np.take_along_axis(order, picked, 1))
        exact = _distances(points[part], known.vectors, picked)
        exact[barred] = np.inf
        best = np.argsort(exact, axis=1, kind="stable")[:, :count]
        have = best.shape[1]
        distances[part, :have] = np.take_along_axis(exact, best, 1)
        rows[part, :have] = np.take_along_axis(picked, best, 1)
    return distances, rows


def _distances(points: Array, others: Array, picked: Array) -> Array:
    """Distances (n, k) of each point to its picks, in float64."""
    found = np.empty(picked.shape)
    step = max(1, EXACT // max(picked.shape[1] * points.shape[1], 1))
    for start in range(0, len(points), step):
        part = slice(start, start + step)
        apart = others[picked[part]].astype(np.float64) - points[part, None]
        found[part] = np.sqrt(np.einsum("nkd,nkd->nk", apart, apart))
    return found
