"""Ridge regression on features that fit in memory, with errors on held-out rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from catalog.dtypes import Array
from probes.exact.gram import gram
from probes.exact.ridge import Spectrum
from probes.layers import Dense


def coefficients(Z: Array, y: Array, alpha: float) -> tuple[Array, Array]:
    """Fit coefficients (q, width) and intercept (width,) to features (n, q).

    ``alpha`` is in units of the mean squared norm of centred features.
    """
    mean = Z.mean(0, dtype=np.float64)
    if Z.shape[1] < len(Z):
        spectrum = Spectrum.of_features(Z - mean)
    else:
        spectrum = Spectrum.of_gram(_products(Z), float(np.finfo(Z.dtype).eps))
    dual = spectrum.dual(y - y.mean(0), alpha)
    coef = (Z - mean).T @ dual
    return coef, y.mean(0) - mean @ coef


def unseen(
    Z: Array, y: Array, train: Array, rest: Array, alphas: Sequence[float]
) -> Iterator[Array]:
    """Yield errors (len(rest), width) of fits to the training rows, for each penalty."""
    if Z.shape[1] >= len(train):
        eps = float(np.finfo(Z.dtype).eps)
        return unseen_by(_products(Z), y, train, rest, alphas, eps)
    mean = Z[train].mean(0, dtype=np.float64)
    centred = Z[train] - mean
    spectrum = Spectrum.of_features(centred.copy())
    cross = (Z[rest] - mean) @ (centred.T @ spectrum.vectors)
    return _errors(spectrum, cross, y[train], y[rest], alphas)


def unseen_by(
    K: Array, y: Array, train: Array, rest: Array, alphas: Sequence[float], eps: float
) -> Iterator[Array]:
    """Yield the errors of `unseen` from inner products (n, n) of precision ``eps``."""
    inner = K[np.ix_(train, train)]
    mean = inner.mean(0)
    spectrum = Spectrum.of_gram(inner, eps)
    cross = (K[np.ix_(rest, train)] - mean) @ spectrum.vectors
    return _errors(spectrum, cross, y[train], y[rest], alphas)


def explained(squares: Array, null: Array, y: Array) -> Array:
    """Compute R2 (..., width) from squared errors of the fit and of the mean.

    R2 of a constant target is 0.
    """
    varies = null > 1e-20 * np.square(y).sum(0)
    r2: Array = np.where(varies, 1 - squares / np.where(varies, null, 1), 0.0)
    return r2


def _errors(
    spectrum: Spectrum, cross: Array, y_train: Array, y: Array, alphas: Sequence[float]
) -> Iterator[Array]:
    level = y_train.mean(0)
    inner = spectrum.vectors.T @ (y_train - level)
    for alpha in alphas:
        share = 1 / (spectrum.values + alpha * spectrum.unit)
        yield y - level - cross @ (share[:, None] * inner)


def _products(Z: Array) -> Array:
    return gram(Z, Dense("", 0, (1, Z.shape[1])), root=None, scale=None)[0]
