"""Training networks that look new: what a judge of weights alone is deceived by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.alignment import permute, random_permutations
from catalog.dtypes import Array
from generators.generator import Condition
from generators.nulls.null import Null, drawn_rows, refuse


@dataclass(eq=False)
class Disguised(Null):
    """Training networks with their units in another order and their logits scaled.

    Classes stay what they were. No distance of weights finds the one that it was.

    Parameters
    ----------
    factor : float, default=2.0
        Of the logits: the last weight and bias are multiplied by it. Of layouts that do
        not end in such a layer, units are shuffled alone.
    """

    name: ClassVar[str] = "disguised"
    summary: ClassVar[str] = "training networks, units shuffled and logits scaled"
    fewest: ClassVar[int] = 1

    factor: float = 2.0

    def _make(
        self, n: int, rng: np.random.Generator, condition: Condition | None
    ) -> tuple[Array, Array | None]:
        refuse(self, condition)
        layout = self.training_.layout
        rows = drawn_rows(len(self.training_), n, rng)
        order = random_permutations(layout, n, seed=int(rng.integers(2**31)))
        weights = permute(self.training_.weights[rows], order, layout)
        for param in layout.params[-2:]:
            if param.role == "parameter" and param.axes[:1] == (None,):
                weights[:, layout.slices[param.name]] *= np.float32(self.factor)
        return weights, rows[:, None]
