"""Exact principal components of n networks with d weights, for any n and d."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from catalog.errors import CatalogError

BLOCK = 1 << 22
"""Number of values in a block: 32 MiB of float64."""
RANK = 1e-9
"""Share of the largest variance below which a component is rounding error.

Its square root is 3e-5, and weights are float32.
"""


@dataclass(frozen=True)
class Components:
    """Directions in which networks differ, with the standard deviation along each.

    Attributes
    ----------
    mean : ndarray of shape (d,), float32
        Mean of the rows.
    basis : ndarray of shape (k, d), float32
        Orthonormal rows, by falling variance.
    deviation : ndarray of shape (k,), float64
        Standard deviations along the rows, divisor n - 1, after shrinkage; whitening
        divides by these.
    shrinkage : float
        Shrinkage that was applied.
    share : float
        Share of the total variance that the k components hold.
    """

    mean: Array
    basis: Array
    deviation: Array
    shrinkage: float
    share: float

    @classmethod
    def fit(
        cls,
        X: Array,
        k: int | None = None,
        shrinkage: float | None = 0.0,
        runs: Array | None = None,
    ) -> Components:
        """Compute the principal components of the rows.

        One eigendecomposition of the n x n inner products or of the d x d covariance,
        the smaller of the two, summed in float64 over blocks. Beyond X it takes that
        matrix twice, one block, and the basis.

        Parameters
        ----------
        X : ndarray of shape (n, d)
            Rows of the sample.
        k : int, optional
            Number of components. Default: all of the rank, at most min(n - 1, d), with
            which no row loses anything. Components with less than `RANK` of the largest
            variance are left out.
        shrinkage : float, optional
            Variances become ``(1 - shrinkage) v + shrinkage mean(v)`` of the components
            kept: along them, the large variances of a sample are too large, and the small
            ones too small. 0 whitens the rows themselves exactly. None: estimated, see
            `shrinkage_of`.
        runs : ndarray of shape (n,), optional
            Run of each row, 0 to r - 1, for the estimate. Default: each row is a run.

        Raises
        ------
        CatalogError
            If all rows are equal.
        ValueError
            If k or the shrinkage is out of range.

        Examples
        --------
        >>> some = Components.fit(np.float32([[1, 0], [3, 0], [2, 0]]))
        >>> some.basis.shape, some.deviation.round(6), some.mean
        ((1, 2), array([1.]), array([2., 0.], dtype=float32))
        """
        n, d = X.shape
        if shrinkage is not None and not 0 <= shrinkage <= 1:
            raise ValueError(f"shrinkage must be from 0 to 1. Got {shrinkage}.")
        max_rank = min(n - 1, d)
        if k is not None and not 1 <= k <= max_rank:
            raise ValueError(
                f"components must be from 1 to {max_rank}, the rank of {n} networks with "
                f"{d} values. Got {k}."
            )
        mean = X.mean(0, dtype=np.float64)
        by_columns = d <= n
        moments = _covariance(X, mean) if by_columns else _inner_products(X, mean)
        total = float(np.trace(moments))
        values, vectors = np.linalg.eigh(moments)
        del moments
        values, vectors = values[::-1][:max_rank], vectors[:, ::-1][:, :max_rank]
        if not total > 0 or not values[0] > 0:
            raise CatalogError(
                f"All {n} networks have the same weights, so nothing can be learned. Load "
                "networks of several seeds."
            )
        if shrinkage is None:
            shrinkage = shrinkage_of(X, mean, values, runs)
        rank = int((values > RANK * values[0]).sum())
        rank = rank if k is None else min(k, rank)
        values, vectors = values[:rank], vectors[:, :rank]
        if by_columns:
            basis = np.ascontiguousarray(vectors.T, np.float32)
        else:
            basis = _basis_from_rows(X, mean, vectors / np.sqrt(values))
        variance = values / (n - 1)
        variance = (1 - shrinkage) * variance + shrinkage * variance.mean()
        share = min(float(values.sum()) / total, 1.0)
        return cls(
            mean.astype(np.float32), basis, np.sqrt(variance), float(shrinkage), share
        )

    def encode(self, X: Array) -> Array:
        """Return coordinates (n, k) float32 along the components."""
        codes = np.empty((len(X), len(self.basis)), np.float32)
        for rows in _row_blocks(X):
            codes[rows] = (X[rows] - self.mean) @ self.basis.T
        return codes

    def decode(self, codes: Array) -> Array:
        """Return the rows (n, d) float32 with these coordinates."""
        rows: Array = np.asarray(codes, np.float32) @ self.basis
        rows += self.mean
        return rows


def shrinkage_of(X: Array, mean: Array, squares: Array, runs: Array | None = None) -> float:
    """Estimate the shrinkage of a sample covariance to a multiple of the identity.

    The estimate of Ledoit and Wolf [1]_: sampling error over the distance from the
    multiple. Checkpoints of a run are not independent; the error is that between runs.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows of the sample.
    mean : ndarray of shape (d,)
        Mean of the rows.
    squares : ndarray
        Eigenvalues of the sum of outer products of the centred rows.
    runs : ndarray of shape (n,), optional
        Run of each row; default: each row is a run.

    References
    ----------
    .. [1] Ledoit and Wolf, 2004, Journal of Multivariate Analysis 88, 365-411.
    """
    n, d = X.shape
    order = np.arange(n) if runs is None else np.argsort(runs, kind="stable")
    ends = np.arange(1, n) if runs is None else np.flatnonzero(np.diff(runs[order])) + 1
    within_runs = 0.0
    for rows in np.split(order, ends):
        block = X[rows] - mean
        within_runs += float(((block @ block.T) ** 2).sum())
    total_square = float((squares**2).sum())
    error = within_runs - total_square / (len(ends) + 1)
    distance = total_square - float(squares.sum()) ** 2 / d
    return min(error / distance, 1.0) if distance > 0 else 1.0


def _covariance(X: Array, mean: Array) -> Array:
    covariance = np.zeros((X.shape[1],) * 2)
    for rows in _row_blocks(X):
        block = X[rows] - mean
        covariance += block.T @ block
    return covariance


def _inner_products(X: Array, mean: Array) -> Array:
    products = np.zeros((len(X),) * 2)
    for columns in _column_blocks(X):
        block = X[:, columns] - mean[columns]
        products += block @ block.T
    return products


def _basis_from_rows(X: Array, mean: Array, vectors: Array) -> Array:
    """Return directions (k, d) that are combinations (n, k) of the centred rows."""
    basis = np.empty((vectors.shape[1], X.shape[1]), np.float32)
    for columns in _column_blocks(X):
        basis[:, columns] = vectors.T @ (X[:, columns] - mean[columns])
    return basis


def _row_blocks(X: Array) -> Iterator[slice]:
    step = max(BLOCK // max(X.shape[1], 1), 1)
    return (slice(i, i + step) for i in range(0, len(X), step))


def _column_blocks(X: Array) -> Iterator[slice]:
    step = max(BLOCK // max(len(X), 1), 1)
    return (slice(i, i + step) for i in range(0, X.shape[1], step))
