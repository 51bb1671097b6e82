"""Distances between networks from one Gram matrix.

The squared distance is d_ij^2 = K_ii + K_jj - 2 K_ij. Weights are read once, in blocks of
columns, and products are summed in double precision.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from catalog import Layout
from catalog.dtypes import Array

BLOCK = 1 << 14
"""Number of columns that are multiplied at once."""


def squared_distances(X: Array, columns: slice | None = None) -> Array:
    """Compute squared distances (n, n) between all networks (n, d).

    Deviations from the mean network are used, so that the shared part costs no precision:
    the rounding error is about 1e-7 of the largest squared deviation.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Weights of n networks.
    columns : slice, optional
        Columns of one tensor. Default: all.
    """
    columns = columns or slice(0, X.shape[1])
    gram = np.zeros((len(X), len(X)))
    for start in range(columns.start, columns.stop, BLOCK):
        part = X[:, start : min(start + BLOCK, columns.stop)]
        part = part - part.mean(0, dtype=np.float64).astype(part.dtype)
        gram += part @ part.T
    norms = np.diag(gram)
    squared: Array = np.maximum(norms[:, None] + norms - 2 * gram, 0)
    np.fill_diagonal(squared, 0)
    return squared


def by_tensor(X: Array, layout: Layout) -> Iterator[tuple[str, Array]]:
    """Yield squared distances (n, n) of each tensor; they sum to those of the networks."""
    for name, columns in layout.slices.items():
        yield name, squared_distances(X, columns)


def relative(squared: Array, own: Array, other: Array) -> Array:
    """Return squared distances relative to those of unrelated networks.

    The result is 0 for copies and about 1 for unrelated networks.

    Parameters
    ----------
    squared : ndarray of shape (n, m)
        Squared distances of n networks from m networks.
    own, other : ndarray of shape (n,) and (m,)
        Squared norms of the networks in rows and in columns.
    """
    scale = own[:, None] + other
    return np.divide(squared, scale, out=np.zeros_like(squared), where=scale > 0)


def squared_norms(X: Array) -> Array:
    """Compute squared norms (n,) in double precision."""
    parts = [
        np.square(X[:, i : i + BLOCK], dtype=np.float64).sum(1)
        for i in range(0, X.shape[1], BLOCK)
    ]
    return np.sum(parts, axis=0)
