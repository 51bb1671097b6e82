"""Canonical weights themselves as codes, each in its own unit, with their covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog import Layout
from catalog.dtypes import Array
from generators.codes.chosen import Chosen
from generators.codes.components import Components

LEAST = 1e-3
"""Of the mean deviation: below it a weight counts as constant, and keeps that unit."""


@dataclass(frozen=True)
class Standardised:
    """Weights minus their mean, over their deviations.

    What knows the network reads these codes as weights. The noise of the flow is Gaussian
    with the covariance of the codes, see `spread`, so that the flow starts at the same
    Gaussian as on whitened principal components; losses weigh each weight alike.

    Attributes
    ----------
    chosen : Chosen
    components : Components
    mean, scale : ndarray of shape (d,), float32
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
        """Learn from canonical weights (n, d); see `Chosen` and `Components`."""
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
        """Of codes relative to the noise, (k,) float32: they spread alike."""
        return np.ones(self.k, np.float32)

    @property
    def spread(self) -> Array:
        """Takes standard normal rows (b, r) to rows with the covariance of codes (b, k)."""
        own = self.components
        found: Array = own.deviation.astype(np.float32)[:, None] * own.basis / self.scale
        return found

    def encode(self, X: Array) -> Array:
        """Codes (n, k) float32 of canonical weights (n, d)."""
        found: Array = (self.chosen.take(X) - self.mean) / self.scale
        return found

    def decode(self, codes: Array, rest: Array | None = None) -> Array:
        """Weights (n, d) float32 of codes; ``rest`` as in `Codes.decode`."""
        found = np.asarray(codes, np.float32) * self.scale + self.mean
        return self.chosen.put(found, rest)

    def lost(self, X: Array) -> Array:
        """Zeros (n,): codes hold all of a network."""
        return np.zeros(len(X))

    def log_volume(self, X: Array) -> Array:
        """Log (n,) of the volume of codes per volume of weights."""
        found = np.full(len(X), -np.log(self.scale.astype(np.float64)).sum())
        if self.chosen.logarithm.any():
            found -= self.chosen.take(X)[:, self.chosen.logarithm].sum(1)
        return found
