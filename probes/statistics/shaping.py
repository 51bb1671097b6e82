"""Features of any unit and tail on one scale, as training rows say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.stats import norm

from catalog.dtypes import Array

Shape = Literal["quantile", "standard"]
SHAPES = get_args(Shape)
_KNOTS = 1000
_ROUNDING = 1e-5
"""Spread, in units of the largest value, up to which a feature is constant: what reordered
units change by rounding must not be stretched to the scale of the others."""


@dataclass(frozen=True)
class Shaping:
    """Monotone functions, one for each feature.

    Attributes
    ----------
    knots : ndarray of shape (k, p) or None
        Values at k quantiles; None: only centre and scale.
    centre, scale : ndarray of shape (p,)
        Scale 0: the feature is constant, and 0 from now on.
    """

    knots: Array | None
    centre: Array
    scale: Array

    @classmethod
    def of(cls, F: Array, shape: str) -> Shaping:
        """Learn it from features (n, p).

        Parameters
        ----------
        shape : {"quantile", "standard"}
            Normal scores: the rank among the training rows, as a normal variable. Or zero
            mean and unit standard deviation.

        Raises
        ------
        ValueError
            If there is no such shape.
        """
        if shape not in SHAPES:
            raise ValueError(f"The shape must be one of {SHAPES}. Got {shape!r}.")
        size = np.abs(F).max(0)
        varies = np.ptp(F, axis=0) > _ROUNDING * size
        if shape == "quantile":
            at = np.linspace(0, len(F) - 1, min(len(F), _KNOTS)).round().astype(np.int64)
            knots = np.sort(F, axis=0)[at]  # values, not between them: equal ones stay so
            return cls(knots, np.zeros(F.shape[1]), varies.astype(np.float64))
        scale = np.where(varies, F.std(0), 0.0)
        return cls(None, F.mean(0), scale)

    def apply(self, F: Array) -> Array:
        """Shaped features (n, p), float64."""
        alive = self.scale > 0
        if self.knots is None:
            shaped = (F - self.centre) / np.where(alive, self.scale, 1.0)
            return np.where(alive, shaped, 0.0)
        found = np.zeros(F.shape)
        for column in np.flatnonzero(alive):
            found[:, column] = _ranks(F[:, column], self.knots[:, column])
        k = len(self.knots)
        scores = norm.ppf(np.clip(found, 0.5 / k, 1 - 0.5 / k))
        return np.where(alive, scores, 0.0)


def normal_scores(F: Array) -> Array:
    """Features (n, p) as normal scores of their ranks in these rows; constants as 0."""
    return Shaping.of(F, "quantile").apply(F)


def _ranks(values: Array, knots: Array) -> Array:
    """Share of training values below, between 0 and 1; in the middle of equal ones."""
    low, high = (np.searchsorted(knots, values, side) for side in ("left", "right"))
    last = len(knots) - 1
    below, above = knots[np.clip(low - 1, 0, last)], knots[np.clip(low, 0, last)]
    step = above - below
    part = np.divide(values - below, step, out=np.zeros(len(values)), where=step > 0)
    between = np.clip(low - 1 + part, 0, last)
    found: Array = np.where(high > low, (low + high - 1) / 2, between) / max(last, 1)
    return found
