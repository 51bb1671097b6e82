"""Scaling of features of any units and tails, fitted to training rows."""

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
"""Range, relative to the largest value, up to which a feature counts as constant: rounding
differences of reordered units must not be scaled up to the size of other features."""


@dataclass(frozen=True)
class Shaping:
    """Monotone scaling function for each feature.

    Attributes
    ----------
    knots : ndarray of shape (k, p) or None
        Values at k quantiles; None: only centre and scale are used.
    centre, scale : ndarray of shape (p,)
        Centre and scale; a scale of 0 marks a constant feature, which becomes 0.
    """

    knots: Array | None
    centre: Array
    scale: Array

    @classmethod
    def of(cls, F: Array, shape: str) -> Shaping:
        """Fit the scaling to features (n, p).

        Parameters
        ----------
        shape : {"quantile", "standard"}
            "quantile": normal scores, the rank among the training rows as quantile of a
            normal distribution. "standard": zero mean and unit standard deviation.

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
            rows = np.linspace(0, len(F) - 1, min(len(F), _KNOTS)).round().astype(np.int64)
            knots = np.sort(F, axis=0)[
                rows
            ]  # no interpolation, so that equal values stay equal
            return cls(knots, np.zeros(F.shape[1]), varies.astype(np.float64))
        scale = np.where(varies, F.std(0), 0.0)
        return cls(None, F.mean(0), scale)

    def apply(self, F: Array) -> Array:
        """Scale features (n, p), float64."""
        varies = self.scale > 0
        if self.knots is None:
            shaped = (F - self.centre) / np.where(varies, self.scale, 1.0)
            return np.where(varies, shaped, 0.0)
        ranks = np.zeros(F.shape)
        for column in np.flatnonzero(varies):
            ranks[:, column] = _ranks(F[:, column], self.knots[:, column])
        k = len(self.knots)
        scores = norm.ppf(np.clip(ranks, 0.5 / k, 1 - 0.5 / k))
        return np.where(varies, scores, 0.0)


def normal_scores(F: Array) -> Array:
    """Return normal scores of features (n, p) among these rows; 0 for constants."""
    return Shaping.of(F, "quantile").apply(F)


def _ranks(values: Array, knots: Array) -> Array:
    """Return the share of training values below, from 0 to 1, with equal values at half."""
    low, high = (np.searchsorted(knots, values, side) for side in ("left", "right"))
    last = len(knots) - 1
    below, above = knots[np.clip(low - 1, 0, last)], knots[np.clip(low, 0, last)]
    step = above - below
    part = np.divide(values - below, step, out=np.zeros(len(values)), where=step > 0)
    between = np.clip(low - 1 + part, 0, last)
    shares: Array = np.where(high > low, (low + high - 1) / 2, between) / max(last, 1)
    return shares
