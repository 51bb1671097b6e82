"""Codes that are standardised canonical weights, with noise of the same covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog import Layout
from catalog.dtypes import Array
from generators.codes.chosen import Chosen
from generators.codes.components import Components

LEAST = 1e-3
"""Minimum scale of a weight, relative to the mean standard deviation of all weights."""


@dataclass(frozen=True)
class Standardised:
    """Weights minus their mean, divided by their standard deviations.

    Velocity networks that depend on the architecture convert these codes to weights. The
    noise of the flow is Gaussian with the covariance of the codes, see `spread`, so that
    the flow starts at the same Gaussian as on whitened principal components; the loss gives
    all weights the same importance.

    Attributes
    ----------
    chosen : Chosen
        Weights that codes stand for.
    components : Components
        Principal components of these weights, which define the noise.
    mean, scale : ndarray of shape (d,), float32
        Mean and standard deviation of each weight; see `LEAST`.
    """

    chosen: Chosen
    components: Components
    mean: Array
    scale: Array

    @classmethod
    def fit(
        cls,
        X: Array,
        layout: Layout,
        *,
        tensors: str | Sequence[str] = "*",
        shrinkage: float | None = 0.0,
        runs: Array | None = None,
    ) -> Standardised:
        """Fit to canonical weights (n, d); see `Chosen` and `Components`."""
        chosen = Chosen.of(X, layout, tensors)
        values = chosen.take(X)
        components = Components.fit(values, None, shrinkage, runs)
        scale = values.std(0, dtype=np.float64)
        scale = np.maximum(scale, LEAST * scale.mean()).astype(np.float32)
        return cls(chosen, components, components.mean, scale)

    @property
    def k(self) -> int:
        """Length of a code."""
        return len(self.scale)

    @property
    def deviation(self) -> Array:
        """Standard deviations (k,) float32 of codes relative to the noise: all 1."""
        return np.ones(self.k, np.float32)

    @property
    def spread(self) -> Array:
        """Matrix (r, k) that maps standard normal rows (b, r) to noise (b, k).

        The noise has the covariance of the codes.
        """
        components = self.components
        spread: Array = (
            components.deviation.astype(np.float32)[:, None] * components.basis / self.scale
        )
        return spread

    def encode(self, X: Array) -> Array:
        """Return codes (n, k) float32 of canonical weights (n, d)."""
        codes: Array = (self.chosen.take(X) - self.mean) / self.scale
        return codes

    def decode(self, codes: Array, rest: Array | None = None) -> Array:
        """Return the weights (n, d) float32 of codes; ``rest`` as in `Codes.decode`."""
        values = np.asarray(codes, np.float32) * self.scale + self.mean
        return self.chosen.put(values, rest)

    def lost(self, X: Array) -> Array:
        """Return zeros (n,): codes determine the network exactly."""
        return np.zeros(len(X))

    def log_volume(self, X: Array) -> Array:
        """Return log |det d codes / d weights| (n,) of the map to codes."""
        log_volume = np.full(len(X), -np.log(self.scale.astype(np.float64)).sum())
        if self.chosen.logarithm.any():
            log_volume -= self.chosen.take(X)[:, self.chosen.logarithm].sum(1)
        return log_volume
