"""Null that draws from a Gaussian with the mean and covariance of the training networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from generators.codes.chosen import Chosen
from generators.codes.components import Components
from generators.generator import Condition
from generators.nulls.null import Null, refuse


@dataclass(eq=False)
class PCAGaussian(Null):
    """Draws along the principal components, with the standard deviation of each.

    Parameters
    ----------
    sigma : float, default=1.0
        Factor of the standard deviations.
    components : int, optional
        Number of components; default: all of the rank.
    """

    name: ClassVar[str] = "pca_gaussian"
    summary: ClassVar[str] = "Gaussian along the principal components"

    sigma: float = 1.0
    components: int | None = None

    def _learn(self) -> None:
        weights = self.training_.weights
        values = Chosen.of(weights, self.training_.layout).take(weights)
        self.components_ = Components.fit(values, self.components)

    def _make(
        self, n: int, rng: np.random.Generator, condition: Condition | None
    ) -> tuple[Array, Array | None]:
        refuse(self, condition)
        chosen = Chosen.of(self.training_.weights, self.training_.layout)
        components = self.components_
        codes = rng.standard_normal((n, len(components.basis)), np.float32)
        codes *= (self.sigma * components.deviation).astype(np.float32)
        return chosen.put(components.mean + codes @ components.basis), None
