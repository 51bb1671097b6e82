"""Codes of canonical networks: what flows, and whatever else models weights, work in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog import Layout
from catalog.dtypes import Array
from generators.codes.chosen import Chosen
from generators.codes.components import Components


@dataclass(frozen=True)
class Codes:
    """An invertible map between chosen weights of canonical networks and codes.

    Attributes
    ----------
    chosen : Chosen
    components : Components
    whitened : bool
        Whether codes are divided by the deviations: the training codes then have unit
        covariance (without shrinkage).
    """

    chosen: Chosen
    components: Components
    whitened: bool

    @classmethod
    def fit(
        cls,
        X: Array,
        layout: Layout,
        *,
        tensors: str | Sequence[str] = "*",
        k: int | None = None,
        whiten: bool = True,
        shrinkage: float | None = 0.0,
        runs: Array | None = None,
    ) -> Codes:
        """Learn from canonical weights (n, d); see `Chosen` and `Components`."""
        chosen = Chosen.of(X, layout, tensors)
        components = Components.fit(chosen.take(X), k, shrinkage, runs)
        return cls(chosen, components, whiten)

    @property
    def k(self) -> int:
        """Length of a code."""
        return len(self.components.basis)

    @property
    def deviation(self) -> Array:
        """Deviations (k,) float32 of codes, as far as a sample tells them."""
        if self.whitened:
            return np.ones(self.k, np.float32)
        return self.components.deviation.astype(np.float32)

    def encode(self, X: Array) -> Array:
        """Codes (n, k) float32 of canonical weights (n, d)."""
        found = self.components.encode(self.chosen.take(X))
        if self.whitened:
            found /= self.components.deviation.astype(np.float32)
        return found

    def decode(self, codes: Array, rest: Array | None = None) -> Array:
        """Weights (n, d) float32 of codes.

        Parameters
        ----------
        codes : ndarray of shape (n, k)
        rest : ndarray of shape (n, d), optional
            Where tensors that are not modelled are taken from.
        """
        codes = np.asarray(codes, np.float32)
        if self.whitened:
            codes = codes * self.components.deviation.astype(np.float32)
        return self.chosen.put(self.components.decode(codes), rest)

    def lost(self, X: Array) -> Array:
        """Share (n,) of each network's deviation from the mean that codes do not hold."""
        values = self.chosen.take(X)
        centred = values - self.components.mean
        left = values - self.components.decode(self.components.encode(values))
        norm = np.linalg.norm(centred, axis=1)
        found: Array = np.linalg.norm(left, axis=1) / np.where(norm > 0, norm, 1)
        return found

    def log_volume(self, X: Array) -> Array:
        """Log (n,) of the volume of codes per volume of weights within the span."""
        found = np.zeros(len(X))
        if self.whitened:
            found -= np.log(self.components.deviation).sum()
        if self.chosen.logarithm.any():
            found -= self.chosen.take(X)[:, self.chosen.logarithm].sum(1)
        return found
