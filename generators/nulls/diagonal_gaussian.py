"""Null that draws each weight from an independent Gaussian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from generators.codes.chosen import Chosen
from generators.generator import Condition
from generators.nulls.null import Null, refuse


@dataclass(eq=False)
class DiagonalGaussian(Null):
    """Draws every weight from a Gaussian fitted to this weight of the training networks.

    Parameters
    ----------
    sigma : float, default=1.0
        Factor of the standard deviations.
    """

    name: ClassVar[str] = "diagonal_gaussian"
    summary: ClassVar[str] = "independent Gaussians, one for each weight"

    sigma: float = 1.0

    def _learn(self) -> None:
        weights = self.training_.weights
        values = Chosen.of(weights, self.training_.layout).take(weights)
        self.mean_: Array = values.mean(0, dtype=np.float64).astype(np.float32)
        self.deviation_: Array = values.std(0, dtype=np.float64).astype(np.float32)

    def _make(
        self, n: int, rng: np.random.Generator, condition: Condition | None
    ) -> tuple[Array, Array | None]:
        refuse(self, condition)
        chosen = Chosen.of(self.training_.weights, self.training_.layout)
        noise = rng.standard_normal((n, len(self.mean_)), np.float32)
        drawn = self.mean_ + np.float32(self.sigma) * noise * self.deviation_
        return chosen.put(drawn), None
