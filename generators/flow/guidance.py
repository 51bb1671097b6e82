"""Guidance of samples by conditions, and by a predictor of a property.

References
----------
.. [1] Ho and Salimans, 2022, arXiv:2207.12598: guidance without a classifier.
.. [2] Chung et al., 2023, arXiv:2209.14687; Song et al., 2023 (PiGDM): guidance by a
   predictor of the expected end point, with the spread around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from generators.flow.path import GaussianStart
from generators.flow.solver import Residual
from generators.flow.velocity import Velocity


def conditional(velocity: Velocity, features: Tensor | None, guidance: float) -> Residual:
    """Return the residual with features (f,) of one condition for all rows.

    ``v0 + guidance (v1 - v0)`` of the velocities without and with the condition: 1 is the
    conditional one (one evaluation), 0 the unconditional, above 1 is stronger.
    """

    def residual(x: Tensor, t: Tensor) -> Tensor:
        if features is None or guidance == 0:
            return velocity.residual(x, t)
        with_condition = velocity.residual(x, t, features.expand(len(x), -1))
        if guidance == 1:
            return with_condition
        without = velocity.residual(x, t)
        return without + guidance * (with_condition - without)

    return residual


@dataclass(frozen=True)
class Pull:
    """Pull towards a value of a linear property ``coefficients x + intercept`` of codes.

    Attributes
    ----------
    coefficients : Tensor of shape (k,)
        Coefficients of the property.
    intercept, error : float
        Intercept, and standard deviation of the property around its prediction.
    target : float
        Value towards which codes are pulled.
    strength : float
        Strength of the pull; with 1, samples follow the distribution of data with this
        value.
    """

    coefficients: Tensor
    intercept: float
    error: float
    target: float
    strength: float = 1.0


def pulled(residual: Residual, start: GaussianStart, pulls: Sequence[Pull]) -> Residual:
    """Return the residual, guided towards targets.

    Given the point at time t, data are expected at ``x + (1 - t) v`` with the covariance C
    of the Gaussian start; given also the property, the expectation moves by ``C w (target -
    predicted) / (error^2 + w C w)``. This is exact if codes are Gaussian; several pulls act
    independently, which is exact if their ``w C w'`` are 0.
    """

    def moved(x: Tensor, t: Tensor) -> Tensor:
        unguided = residual(x, t)
        end = x + (1 - t) * (start.rate(t) * x + unguided)
        shrink = (start.deviation / start.scale(t)) ** 2  # C = (1 - t)^2 shrink
        guided = unguided
        for pull in pulls:
            w = pull.coefficients
            spread = shrink * w
            predicted = end @ w + pull.intercept
            variance = pull.error**2 + (1 - t[:, 0]) ** 2 * (spread * w).sum(-1)
            shift = pull.strength * (pull.target - predicted) / variance
            guided = guided + (1 - t) * shift[:, None] * spread
        return guided

    return moved
