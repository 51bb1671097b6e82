"""Ridge regression for all penalties at once, with exact errors on held-out groups.

One eigendecomposition of the centred Gram matrix (or, with fewer weights than networks, of
the covariance) gives the fit for every penalty and every target. Predictions of a fit
without some rows for these rows follow in closed form from the fit with all rows, whatever
the size of the groups that are held out together: with S the matrix that maps targets to
predictions, the errors of group g are ``inv(I - S[g, g]) @ (y - S y)[g]``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from probes.exact.dealing import check_groups

ALPHAS = tuple(float(f"{10**p:.3g}") for p in np.linspace(-6, 6, 31))
"""Penalties that are tried by default, relative to the mean squared norm of a network."""
EPS = float(np.finfo(np.float64).eps)
_TILE = 1 << 22
"""Maximum number of values of eigenvector rows that are held at once."""


@dataclass(frozen=True)
class Spectrum:
    """Eigendecomposition that all ridge fits with an unpenalised intercept share.

    Attributes
    ----------
    vectors : ndarray of shape (n, q)
        Eigenvectors of the centred Gram matrix: orthonormal, orthogonal to ones.
    values : ndarray of shape (q,)
        Eigenvalues of the vectors, above 0.
    unit : float
        Mean of the diagonal of the centred Gram matrix; the unit of penalties.
    """

    vectors: Array
    values: Array
    unit: float

    @classmethod
    def of_gram(cls, K: Array, eps: float = EPS) -> Spectrum:
        """Decompose inner products (n, n), which are overwritten.

        ``eps`` is the precision of the weights: networks that differ by less are equal.
        """
        size = float(K.diagonal().max(initial=0.0))
        unit = centre(K, eps)
        if not unit:
            return cls(np.empty((len(K), 0)), np.empty(0), 0.0)
        values, vectors = np.linalg.eigh(K)
        # Smaller eigenvalues are rounding of K.
        significant = values > 4 * np.sqrt(len(K)) * eps * size
        return cls(vectors[:, significant], values[significant], unit)

    @classmethod
    def of_features(cls, Z: Array, eps: float = EPS) -> Spectrum:
        """Decompose float64 features (n, q) with q < n, which are overwritten."""
        size = float(np.einsum("ij,ij->i", Z, Z).max(initial=0.0))
        Z -= Z.mean(0)
        C = Z.T @ Z
        unit = float(C.trace()) / len(Z)
        if unit <= 4 * eps * size:
            return cls(np.empty((len(Z), 0)), np.empty(0), 0.0)
        values, axes = np.linalg.eigh(C)
        significant = values > len(Z) * size * EPS
        axes, values = axes[:, significant], values[significant]
        return cls(Z @ (axes / np.sqrt(values)), values, unit)

    def shrinkage(self, alpha: float) -> Array:
        """Return the share (q,) of each eigenvector that the fit keeps."""
        shares: Array = self.values / (self.values + alpha * self.unit)
        return shares

    def dual(self, y: Array, alpha: Array | float) -> Array:
        """Return weights (n, width) of the networks in the fit to centred y (n, width).

        The fitted coefficients are the sum of the networks times these weights. ``alpha``
        is one number, or one for each target.
        """
        alphas = np.broadcast_to(np.asarray(alpha, np.float64), (y.shape[1],))
        share = 1 / (self.values[:, None] + alphas * self.unit)
        weights: Array = self.vectors @ (share * (self.vectors.T @ y))
        return weights


def centre(K: Array, eps: float = EPS) -> float:
    """Centre inner products in place, and return the mean of their diagonal, or 0.

    The result is 0 if all networks are equal up to ``eps``, the precision of the weights.
    """
    size = float(K.diagonal().max(initial=0.0))
    K -= K.mean(0)
    K -= K.mean(1)[:, None]
    unit = float(K.trace()) / len(K)
    if unit > 4 * eps * size:
        return unit
    K[:] = 0
    return 0.0


def held_out_errors(spectrum: Spectrum, y: Array, groups: Array, alpha: float) -> Array:
    """Return errors (n, width), y minus prediction, of fits without the group of the row.

    The errors are exact, with the intercept fitted anew. For infinite ``alpha`` they are
    the errors of the mean.

    Raises
    ------
    ValueError
        If there is only one group.
    """
    return next(_errors(spectrum, y, groups, [alpha]))


def path(
    spectrum: Spectrum, y: Array, groups: Array, alphas: tuple[float, ...] = ALPHAS
) -> Array:
    """Compute R2 on held-out groups for every penalty and target, (len(alphas), width).

    R2 is 1 - (squared errors) / (squared errors of the mean of the other groups), so that
    the baseline has 0. A constant target has 0 too.

    Raises
    ------
    ValueError
        If there is only one group.
    """
    shares = [np.inf, *alphas]
    squares = [np.square(e).sum(0) for e in _errors(spectrum, y, groups, shares)]
    rounding = 1e-20 * np.square(y).sum(0)
    null = np.where(squares[0] > rounding, squares[0], np.inf)
    r2 = np.array([np.where(np.isinf(null), 0, 1 - s / null) for s in squares[1:]])
    return r2


def best(alphas: tuple[float, ...], scores: Array) -> float:
    """Return the penalty with the highest score (len(alphas),); of ties the largest."""
    order = np.argsort(alphas)[::-1]
    return float(alphas[order[np.argmax(scores[order])]])


def check_alphas(alphas: object) -> tuple[float, ...]:
    """Return penalties as numbers above 0; None: `ALPHAS`.

    Raises
    ------
    ValueError
        If the sequence is empty, or a penalty is not above 0.
    """
    if alphas is None:
        return ALPHAS
    values = np.atleast_1d(np.asarray(alphas, np.float64))
    if values.ndim != 1 or not len(values) or not (values > 0).all():
        raise ValueError(f"The alphas must be numbers above 0. Got {alphas!r}.")
    return tuple(values.tolist())


def _errors(
    spectrum: Spectrum, y: Array, groups: Array, alphas: list[float] | tuple[float, ...]
) -> Iterator[Array]:
    n, U = len(y), spectrum.vectors
    sets = by_size(groups)
    centred = y - y.mean(0)
    inner = U.T @ centred
    for alpha in alphas:
        share = np.zeros(len(spectrum.values))
        if np.isfinite(alpha):
            share = spectrum.shrinkage(alpha)
        errors = centred - U @ (share[:, None] * inner)
        for rows in sets:
            if rows.shape[1] == 1:
                diagonal = 1 - 1 / n - np.square(U[rows[:, 0]]) @ share
                errors[rows[:, 0]] /= diagonal[:, None]
                continue
            part = U[rows]
            block = np.eye(rows.shape[1]) - 1 / n - (part * share) @ part.transpose(0, 2, 1)
            errors[rows] = np.linalg.solve(block, errors[rows])
        yield errors


def by_size(groups: Array) -> list[Array]:
    """Return arrays (count, size) of rows of equally large groups, of bounded memory."""
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    check_groups(groups)
    order = np.argsort(inverse, kind="stable")
    starts = np.cumsum(counts) - counts
    sets = []
    for size in np.unique(counts):
        firsts = starts[counts == size]
        rows = order[firsts[:, None] + np.arange(size)]
        step = max(_TILE // (int(size) * max(int(size), len(groups))), 1)
        sets += [rows[i : i + step] for i in range(0, len(rows), step)]
    return sets
