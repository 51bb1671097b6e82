"""The training networks themselves: what a perfect copy scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from generators.generator import Condition
from generators.nulls.null import Null, drawn_rows, refuse


@dataclass(eq=False)
class Train(Null):
    """Gives training networks back, each once before any comes again.

    With a calibration it is the null that a new head on an old body must not beat.
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
