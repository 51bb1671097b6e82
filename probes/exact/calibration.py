"""Scores of classes as logits, by logistic regression on held-out predictions.

Ridge regression on 0 and 1 shrinks towards the mean, so that its values are no
probabilities. What it says about networks whose group it has not seen shows by how much
(Platt scaling; for one class of many, a temperature and an offset for each class).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from catalog.dtypes import Array

_PRIOR = 1e-3


def score_calibration(scores: Array, y: Array, *, exclusive: bool) -> tuple[Array, Array]:
    """Factors and offsets (width,) such that ``factor * score + offset`` are logits.

    Parameters
    ----------
    scores : ndarray of shape (n, width)
        Of rows that had no part in the fit.
    y : ndarray of shape (n, width)
        0 and 1.
    exclusive : bool
        One of the columns holds (softmax, one factor for all), or each for itself.
        Factors are never negative.
    """
    center, spread = scores.mean(0), scores.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    if exclusive:
        center, spread = np.zeros_like(center), np.full_like(spread, spread.mean())
        factor, offset = _softmax((scores - center) / spread, y)
    else:
        # Smoothed, so that labels which the scores part have finite logits.
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
    """Of each column (n, width), from the logits of `score_calibration`."""
    found: Array = softmax(logits, axis=1) if exclusive else expit(logits)
    return found


def _logistic(z: Array, t: Array) -> tuple[float, float]:
    def loss(at: Array) -> tuple[float, Array]:
        logit = at[0] * z + at[1]
        apart = expit(logit) - t
        value = np.logaddexp(0, logit).sum() - t @ logit + _PRIOR * at[0] ** 2
        return float(value), np.array([apart @ z + 2 * _PRIOR * at[0], apart.sum()])

    found = minimize(
        loss, [0.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)]
    )
    return float(found.x[0]), float(found.x[1])


def _softmax(z: Array, y: Array) -> tuple[Array, Array]:
    width = y.shape[1]

    def loss(at: Array) -> tuple[float, Array]:
        logit = at[0] * z + at[1:]
        apart = softmax(logit, axis=1) - y
        value = -(y * log_softmax(logit, axis=1)).sum() + _PRIOR * np.square(at).sum()
        slope = np.concatenate([[(apart * z).sum()], apart.sum(0)])
        return float(value), slope + 2 * _PRIOR * at

    bounds = [(0, None), *[(None, None)] * width]
    found = minimize(loss, np.zeros(width + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.full(width, found.x[0]), found.x[1:]
