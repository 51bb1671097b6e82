"""Weights of several kernels, fitted by the error on held-out groups.

The error on held-out groups of ridge regression with the kernel ``sum_l theta_l K_l`` and a
penalty of 1 has a gradient in closed form: with P the inverse of the kernel plus 1,
projected orthogonal to the intercept, the errors of group g are ``e_g = inv(P[g, g]) @ (P
y)[g]``, and a change dK changes P by ``-P dK P``. All kernels together cost one n x n
matrix per step, and a quasi-Newton method finds weights and penalty together.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from catalog.dtypes import Array
from probes.exact.ridge import by_size, centre

SMALLEST, LARGEST = 1e-9, 1e5
"""Bounds on weights, in units of the inverse penalty, set by the precision of float32."""


def learnt(
    kernels: Array, y: Array, groups: Array, start: Array, *, steps: int, prior: float
) -> Array:
    """Fit the weights (layers,) with the lowest mean squared error on held-out groups.

    Parameters
    ----------
    kernels : ndarray of shape (layers, n, n)
        Centred inner products.
    y : ndarray of shape (n, width)
        Encoded targets; errors of a column are divided by its variance.
    groups : ndarray of shape (n,)
        Group of each row.
    start : ndarray of shape (layers,)
        Initial weights above 0, in units of the inverse penalty.
    steps : int
        Maximum number of L-BFGS steps.
    prior : float
        Cost of the squared distance of the logarithm of a weight to the mean logarithm.
        Larger values make the weights more equal.
    """
    sets = by_size(groups)
    centred = y - y.mean(0)
    flat = kernels.reshape(len(kernels), -1)
    null = np.square(_unseen(np.eye(len(y)) - 1 / len(y), centred, sets)[0]).sum(0)
    varies = null > 1e-20 * np.square(y).sum(0)
    if not varies.any():
        return start
    centred = centred[:, varies] / np.sqrt(null[varies] * varies.sum())

    def error(logs: Array) -> tuple[float, Array]:
        theta = start * np.exp(logs)
        n = len(centred)
        K = (theta.astype(flat.dtype) @ flat).reshape(n, n).astype(np.float64)
        centre(K)  # rounding of float32 leaves a mean that a small penalty magnifies
        K[np.diag_indices(n)] += 1
        P = np.linalg.inv(K) - 1 / n
        value, slope = _slope(P, centred, sets)
        gradient = theta * (flat @ slope.ravel().astype(flat.dtype))
        deviation = logs - logs.mean()
        value += prior * float(np.square(deviation).mean())
        return value, gradient + 2 * prior * deviation / len(logs)

    start = np.clip(start, SMALLEST, LARGEST / 10)
    bounds = np.log([SMALLEST / start, LARGEST / start]).T
    result = minimize(
        error,
        np.zeros(len(start)),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": steps, "ftol": 1e-6},
    )
    weights: Array = start * np.exp(result.x)
    return weights


def _unseen(P: Array, y: Array, sets: list[Array]) -> tuple[Array, Array]:
    """Compute errors e on held-out groups, and ``inv(P[g, g]) @ e_g``."""
    errors, twice = P @ y, np.empty_like(y)
    for rows in sets:
        if rows.shape[1] == 1:
            diagonal = P[rows[:, 0], rows[:, 0]][:, None]
            errors[rows[:, 0]] /= diagonal
            twice[rows[:, 0]] = errors[rows[:, 0]] / diagonal
        else:
            block = P[rows[:, :, None], rows[:, None, :]]
            errors[rows] = np.linalg.solve(block, errors[rows])
            twice[rows] = np.linalg.solve(block, errors[rows])
    return errors, twice


def _slope(P: Array, y: Array, sets: list[Array]) -> tuple[float, Array]:
    """Compute the sum of squared errors and its derivative (n, n) in the kernel."""
    errors, twice = _unseen(P, y, sets)
    inner = np.empty_like(P)
    for rows in sets:
        if rows.shape[1] == 1:
            singles = rows[:, 0]
            inner[singles] = (
                np.einsum("nt,nt->n", twice[singles], errors[singles])[:, None] * P[singles]
            )
        else:
            part = errors[rows].transpose(0, 2, 1) @ P[rows]
            inner[rows] = twice[rows] @ part
    slope = 2 * (P @ (inner - twice @ (P @ y).T))
    return float(np.square(errors).sum()), slope
