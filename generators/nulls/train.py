"""Null that returns training networks: the score of a perfect copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from generators.generator import Condition
from generators.nulls.null import Null, drawn_rows, refuse


@dataclass(eq=False)
class Train(Null):
    """Returns training networks, each once before any is repeated.

    With a calibration it is the null of a new head on the body of a trained network.
    """

    name: ClassVar[str] = "train"
    summary: ClassVar[str] = "training networks as they are"
    fewest: ClassVar[int] = 1

    def _make(
        self, n: int, rng: np.random.Generator, condition: Condition | None
    ) -> tuple[Array, Array | None]:
        refuse(self, condition)
        rows = drawn_rows(len(self.training_), n, rng)
        return self.training_.weights[rows], rows[:, None]
