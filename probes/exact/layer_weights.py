"""How much each of several kernels counts, learnt on held-out groups.

The error on held-out groups of ridge regression with the kernel ``sum_l theta_l K_l`` and a
penalty of 1 has a gradient in closed form: with P the inverse of the kernel plus 1, without
what the intercept takes, the errors of group g are ``e_g = inv(P[g, g]) @ (P y)[g]``, and a
change dK changes P by ``-P dK P``. So all kernels cost one n x n matrix per step, and a
quasi-Newton method finds weights and penalty together.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from catalog.dtypes import Array
from probes.exact.ridge import by_size, centre

SMALLEST, LARGEST = 1e-9, 1e5
"""Weights in units of the inverse penalty: beyond lie the digits of float32."""


def learnt(
    kernels: Array, y: Array, groups: Array, start: Array, *, steps: int, prior: float
) -> Array:
    """Weights (layers,) of lowest mean squared error on held-out groups.

    Parameters
    ----------
    kernels : ndarray of shape (layers, n, n)
        Inner products, centred.
    y : ndarray of shape (n, width)
        Each column counts by its variance.
    groups : ndarray of shape (n,)
    start : ndarray of shape (layers,)
        Above 0, in units of the inverse penalty.
    steps : int
        Of L-BFGS, at most.
    prior : float
        What the logarithm of a weight costs for the square of its distance to the mean of
        all: the larger, the more alike are the layers.
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
        centre(K)  # float32 left a little of the mean, which a small penalty would magnify
        K[np.diag_indices(n)] += 1
        P = np.linalg.inv(K) - 1 / n
        value, slope = _slope(P, centred, sets)
        gradient = theta * (flat @ slope.ravel().astype(flat.dtype))
        apart = logs - logs.mean()
        value += prior * float(np.square(apart).mean())
        return value, gradient + 2 * prior * apart / len(logs)

    start = np.clip(start, SMALLEST, LARGEST / 10)
    bounds = np.log([SMALLEST / start, LARGEST / start]).T
    found = minimize(
        error,
        np.zeros(len(start)),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": steps, "ftol": 1e-6},
    )
    weights: Array = start * np.exp(found.x)
    return weights


def _unseen(P: Array, y: Array, sets: list[Array]) -> tuple[Array, Array]:
    """Errors e on held-out groups, and ``inv(P[g, g]) @ e_g``."""
    errors, twice = P @ y, np.empty_like(y)
    for rows in sets:
        if rows.shape[1] == 1:
            own = P[rows[:, 0], rows[:, 0]][:, None]
            errors[rows[:, 0]] /= own
            twice[rows[:, 0]] = errors[rows[:, 0]] / own
        else:
            block = P[rows[:, :, None], rows[:, None, :]]
            errors[rows] = np.linalg.solve(block, errors[rows])
            twice[rows] = np.linalg.solve(block, errors[rows])
    return errors, twice


def _slope(P: Array, y: Array, sets: list[Array]) -> tuple[float, Array]:
    """Sum of squared errors, and its derivative (n, n) in the kernel."""
    errors, twice = _unseen(P, y, sets)
    inside = np.empty_like(P)
    for rows in sets:
        if rows.shape[1] == 1:
            at = rows[:, 0]
            inside[at] = np.einsum("nt,nt->n", twice[at], errors[at])[:, None] * P[at]
        else:
            part = errors[rows].transpose(0, 2, 1) @ P[rows]
            inside[rows] = twice[rows] @ part
    slope = 2 * (P @ (inside - twice @ (P @ y).T))
    return float(np.square(errors).sum()), slope
