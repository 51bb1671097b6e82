"""Extreme eigenvalues of n symmetric matrices at once, known by their products.

Lanczos with full reorthogonalisation [1]_: after k products the eigenvalues of a
k x k tridiagonal matrix (Ritz values) approximate the extreme ones, and a residual norm
bounds each error. Every matrix stops by itself; its neighbours decide nothing.

References
----------
.. [1] Parlett, 1998, The Symmetric Eigenvalue Problem, chapters 4, 11 and 13.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from catalog.dtypes import Array

FEWEST = 6
"""Products before convergence is believed: an early Ritz value may rest on another
eigenvalue for a while."""

EVERY = 2
"""Products between two looks at the tridiagonal matrices."""


@dataclass(frozen=True)
class Extremes:
    """What Lanczos found; NaN for matrices with products that are not finite.

    Attributes
    ----------
    top, bottom : ndarray of shape (n,)
        Ritz value of largest magnitude, with its sign, and the smallest one, which is
        never below the smallest eigenvalue.
    top_residual, bottom_residual : ndarray of shape (n,)
        Residual norms: an eigenvalue lies within that distance.
    converged : ndarray of bool of shape (n,)
        Whether the error of ``top`` is within the tolerance.
    products : ndarray of int of shape (n,)
        Size of each Krylov space.
    basis : Tensor of shape (n, k, p)
        Its orthonormal basis; rows beyond ``products`` are zero.
    trace : ndarray of shape (n,)
        Trace of the matrix in that space.
    """

    top: Array
    bottom: Array
    top_residual: Array
    bottom_residual: Array
    converged: Array
    products: Array
    basis: Tensor
    trace: Array


def lanczos(
    product: Callable[[Tensor], Tensor], start: Tensor, iterations: int, tolerance: float
) -> Extremes:
    """Extreme eigenvalues of n symmetric matrices.

    Parameters
    ----------
    product : callable
        Vectors (n, p) to matrix times vector (n, p).
    start : Tensor of shape (n, p)
        Where the Krylov spaces start.
    iterations : int
        Most products.
    tolerance : float
        Relative error of the eigenvalue of largest magnitude at which a matrix stops.
        The error is estimated by the residual r, or by r^2 / gap if that is smaller,
        with the distance to the nearest other Ritz value as gap.

    Returns
    -------
    Extremes
    """
    n, p = start.shape
    steps = min(iterations, p)
    basis = start.new_zeros(n, steps, p)
    diagonal, beside = np.zeros((n, steps)), np.zeros((n, steps))
    nan = np.full((5, n), np.nan)
    found = Extremes(
        nan[0],
        nan[1],
        nan[2],
        nan[3],
        np.zeros(n, bool),
        np.zeros(n, np.int64),
        basis,
        nan[4],
    )
    active = np.ones(n, bool)
    q = start / start.norm(dim=1, keepdim=True)
    for k in range(steps):
        basis[:, k] = q
        w = product(q)
        diagonal[:, k] = (w * q).sum(1).double().cpu().numpy()
        seen = basis[:, : k + 1]
        for _ in range(2):  # once is not enough in float32
            w = w - _combined(seen, _coefficients(seen, w))
        norm = w.norm(dim=1)
        beside[:, k] = norm.double().cpu().numpy()
        active &= np.isfinite(diagonal[:, k]) & np.isfinite(beside[:, k])
        scale = np.abs(diagonal[:, : k + 1]).max(1)
        ended = active & (beside[:, k] <= 1e-6 * scale)  # the space is invariant
        last = k + 1 == steps
        looks = last or (k + 1 >= FEWEST and (k + 1 - FEWEST) % EVERY == 0)
        rows = np.flatnonzero(active if looks else ended)
        if len(rows):
            done = (
                _look(found, rows, diagonal[:, : k + 1], beside[:, : k + 1], tolerance)
                | ended[rows]
            )
            active[rows[done]] = False
        if last or not active.any():
            break
        on = torch.from_numpy(active).to(w.device).unsqueeze(1)
        q = torch.where(on, w / norm.unsqueeze(1), 0.0)
    return found


def deflated(basis: Tensor, vectors: Tensor) -> Tensor:
    """Vectors (n, p) without what lies in the span of an orthonormal basis (n, k, p)."""
    return vectors - _combined(basis, _coefficients(basis, vectors))


def _coefficients(basis: Tensor, w: Tensor) -> Tensor:
    return torch.bmm(basis, w.unsqueeze(2))


def _combined(basis: Tensor, coefficients: Tensor) -> Tensor:
    return torch.bmm(coefficients.mT, basis).squeeze(1)


def _look(
    found: Extremes, rows: Array, diagonal: Array, beside: Array, tolerance: float
) -> Array:
    """Note the state of some matrices; which have converged."""
    k = diagonal.shape[1]
    tridiagonal = np.zeros((len(rows), k, k))
    at = np.arange(k)
    tridiagonal[:, at, at] = diagonal[rows]
    tridiagonal[:, at[1:], at[:-1]] = beside[rows, : k - 1]
    values, vectors = np.linalg.eigh(tridiagonal)  # reads the lower half
    residuals = beside[rows, k - 1 :] * np.abs(vectors[:, -1, :])
    each = np.arange(len(rows))
    best = np.where(np.abs(values[:, 0]) > np.abs(values[:, -1]), 0, k - 1)
    top, residual = values[each, best], residuals[each, best]
    gap = np.full(len(rows), np.inf)
    if k > 1:
        gap = np.where(
            best == 0, values[:, 1] - values[:, 0], values[:, -1] - values[:, -2]
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.fmin(residual, residual**2 / gap)
    found.top[rows], found.top_residual[rows] = top, residual
    found.bottom[rows], found.bottom_residual[rows] = values[:, 0], residuals[:, 0]
    found.products[rows] = k
    found.trace[rows] = diagonal[rows].sum(1)
    converged = error <= tolerance * np.abs(top)
    found.converged[rows] = converged
    return converged
