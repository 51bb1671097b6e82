"""The straight path from noise to data, and the part of its velocity that is known.

If codes were Gaussian with standard deviations s, the velocity that takes noise N(0, 1) to
them would be ``x (t s^2 - (1 - t)) / ((1 - t)^2 + t^2 s^2)`` exactly. Networks learn the
difference: with a network that is zero, or off, samples are drawn from this Gaussian.

References
----------
.. [1] Lipman et al., 2023, arXiv:2210.02747; Albergo et al., 2023, arXiv:2303.08797: the
   velocity of a Gaussian.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def interpolate(noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
    """Return the points (b, k) at times t (b, 1): 0 is noise, 1 is data."""
    return (1 - t) * noise + t * data


@dataclass(frozen=True)
class GaussianStart:
    """Known part of the velocity: the flow to Gaussian data with mean 0.

    Attributes
    ----------
    deviation : Tensor of shape (k,)
        Standard deviation of the data, per dimension.
    """

    deviation: Tensor

    def scale(self, t: Tensor) -> Tensor:
        """Return the standard deviation at time t: the flow is ``scale(t) noise``."""
        return ((1 - t) ** 2 + (t * self.deviation) ** 2).sqrt()

    def rate(self, t: Tensor) -> Tensor:
        """Return the derivative of the log of the scale: the velocity is ``rate(t) x``."""
        variance = self.deviation**2
        return (t * variance - (1 - t)) / ((1 - t) ** 2 + t**2 * variance)


@dataclass(frozen=True)
class NoStart:
    """No known part: the network is the whole velocity, as published.

    Attributes
    ----------
    source : float
        Standard deviation of the noise.
    """

    source: float = 1.0

    def scale(self, t: Tensor) -> Tensor:
        """Return the standard deviation of the noise, which does not depend on time."""
        return torch.full_like(t, self.source)

    def rate(self, t: Tensor) -> Tensor:
        """Return zero."""
        return torch.zeros_like(t)


Start = GaussianStart | NoStart
