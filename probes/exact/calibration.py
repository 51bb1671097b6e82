"""Calibration of class scores as logits, by logistic regression on held-out predictions.

Ridge regression on 0 and 1 shrinks towards the mean, so its values are not probabilities.
Its predictions for networks of held-out groups show by how much (Platt scaling; for one of
many classes, a temperature and an offset for each class).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from catalog.dtypes import Array

_PRIOR = 1e-3


def score_calibration(scores: Array, y: Array, *, exclusive: bool) -> tuple[Array, Array]:
    """Fit factors and offsets (width,) such that ``factor * score + offset`` are logits.

    Parameters
    ----------
    scores : ndarray of shape (n, width)
        Scores of rows that had no part in the fit.
    y : ndarray of shape (n, width)
        Encoded targets, 0 and 1.
    exclusive : bool
        True if exactly one column is 1 in each row (softmax, one factor for all columns);
        False if the columns are independent. Factors are never negative.
    """
    center, spread = scores.mean(0), scores.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    if exclusive:
        center, spread = np.zeros_like(center), np.full_like(spread, spread.mean())
        factor, offset = _softmax((scores - center) / spread, y)
    else:
        # Targets are smoothed, so that separable labels have finite logits.
        count = y.sum(0)
        high, low = (count + 1) / (count + 2), 1 / (len(y) - count + 2)
        smooth = np.where(y > 0, high, low)
        pairs = [
            _logistic(z, t)
            for z, t in zip(((scores - center) / spread).T, smooth.T, strict=True)
        ]
        factor = np.array([f for f, _ in pairs])
        offset = np.array([o for _, o in pairs])
    factor = factor / spread
    return factor, offset - factor * center


def probabilities(logits: Array, *, exclusive: bool) -> Array:
    """Convert logits of `score_calibration` to probabilities (n, width) of the columns."""
    values: Array = softmax(logits, axis=1) if exclusive else expit(logits)
    return values


def _logistic(z: Array, t: Array) -> tuple[float, float]:
    def loss(params: Array) -> tuple[float, Array]:
        logit = params[0] * z + params[1]
        residual = expit(logit) - t
        value = np.logaddexp(0, logit).sum() - t @ logit + _PRIOR * params[0] ** 2
        return float(value), np.array(
            [residual @ z + 2 * _PRIOR * params[0], residual.sum()]
        )

    result = minimize(
        loss, [0.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)]
    )
    return float(result.x[0]), float(result.x[1])


def _softmax(z: Array, y: Array) -> tuple[Array, Array]:
    width = y.shape[1]

    def loss(params: Array) -> tuple[float, Array]:
        logit = params[0] * z + params[1:]
        residual = softmax(logit, axis=1) - y
        value = -(y * log_softmax(logit, axis=1)).sum() + _PRIOR * np.square(params).sum()
        slope = np.concatenate([[(residual * z).sum()], residual.sum(0)])
        return float(value), slope + 2 * _PRIOR * params

    bounds = [(0, None), *[(None, None)] * width]
    result = minimize(loss, np.zeros(width + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.full(width, result.x[0]), result.x[1:]
