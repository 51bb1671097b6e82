"""Codes of canonical networks, the coordinates in which flows model weights."""

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
    """Invertible map between chosen weights of canonical networks and codes.

    Attributes
    ----------
    chosen : Chosen
        Weights that codes stand for.
    components : Components
        Principal components of these weights.
    whitened : bool
        Whether codes are divided by the standard deviations: the training codes then have
        unit covariance (without shrinkage).
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
        """Fit the map to canonical weights (n, d); see `Chosen` and `Components`."""
        chosen = Chosen.of(X, layout, tensors)
        components = Components.fit(chosen.take(X), k, shrinkage, runs)
        return cls(chosen, components, whiten)

    @property
    def k(self) -> int:
        """Length of a code."""
        return len(self.components.basis)

    @property
    def deviation(self) -> Array:
        """Standard deviations (k,) float32 of codes, as estimated from the sample."""
        if self.whitened:
            return np.ones(self.k, np.float32)
        return self.components.deviation.astype(np.float32)

    def encode(self, X: Array) -> Array:
        """Return codes (n, k) float32 of canonical weights (n, d)."""
        codes = self.components.encode(self.chosen.take(X))
        if self.whitened:
            codes /= self.components.deviation.astype(np.float32)
        return codes

    def decode(self, codes: Array, rest: Array | None = None) -> Array:
        """Return the weights (n, d) float32 of codes.

        Parameters
        ----------
        codes : ndarray of shape (n, k)
            Codes of n networks.
        rest : ndarray of shape (n, d), optional
            Weights from which tensors that are not modelled are copied.
        """
        codes = np.asarray(codes, np.float32)
        if self.whitened:
            codes = codes * self.components.deviation.astype(np.float32)
        return self.chosen.put(self.components.decode(codes), rest)

    def lost(self, X: Array) -> Array:
        """Return the share (n,) of each deviation from the mean that codes do not hold."""
        values = self.chosen.take(X)
        centred = values - self.components.mean
        residual = values - self.components.decode(self.components.encode(values))
        norm = np.linalg.norm(centred, axis=1)
        share: Array = np.linalg.norm(residual, axis=1) / np.where(norm > 0, norm, 1)
        return share

    def log_volume(self, X: Array) -> Array:
        """Return the log (n,) of the volume of codes per volume of weights in the span."""
        log_volume = np.zeros(len(X))
        if self.whitened:
            log_volume -= np.log(self.components.deviation).sum()
        if self.chosen.logarithm.any():
            log_volume -= self.chosen.take(X)[:, self.chosen.logarithm].sum(1)
        return log_volume
