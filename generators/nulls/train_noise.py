"""Training networks with noise, the baseline of the memorisation critique [1]_.

References
----------
.. [1] Zeng et al., 2025, arXiv:2506.07998. Differences: the noise is scaled by the standard
   deviation of each weight over the training networks, and positive buffers stay positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from generators.codes.chosen import Chosen
from generators.generator import Condition
from generators.nulls.null import Null, drawn_rows, refuse


@dataclass(eq=False)
class TrainNoise(Null):
    """Adds Gaussian noise to training networks.

    Parameters
    ----------
    sigma : float, default=0.2
        Noise level, in standard deviations of each weight over the training networks.
    """

    name: ClassVar[str] = "train_noise"
    summary: ClassVar[str] = "training networks plus noise"

    sigma: float = 0.2

    def _learn(self) -> None:
        chosen = Chosen.of(self.training_.weights, self.training_.layout)
        values = chosen.take(self.training_.weights)
        self.deviation_: Array = values.std(0, dtype=np.float64).astype(np.float32)

    def _make(
        self, n: int, rng: np.random.Generator, condition: Condition | None
    ) -> tuple[Array, Array | None]:
        refuse(self, condition)
        weights = self.training_.weights
        chosen = Chosen.of(weights, self.training_.layout)
        rows = drawn_rows(len(weights), n, rng)
        values = np.array(chosen.take(weights[rows]))
        noise = rng.standard_normal(values.shape, np.float32)
        values += np.float32(self.sigma) * noise * self.deviation_
        return chosen.put(values), rows[:, None]
