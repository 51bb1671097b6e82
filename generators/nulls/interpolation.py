"""Null that interpolates between two training networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from generators.generator import Condition
from generators.nulls.null import Null, drawn_groups, refuse


@dataclass(eq=False)
class Interpolation(Null):
    """Draws pairs of runs, and takes a point on the line between them.

    Parameters
    ----------
    share : float, default=0.5
        Weight of the second network; 0.5 is the midpoint, which is farthest from both.
    """

    name: ClassVar[str] = "interpolation"
    summary: ClassVar[str] = "points between two training networks"

    share: float = 0.5

    def _make(
        self, n: int, rng: np.random.Generator, condition: Condition | None
    ) -> tuple[Array, Array | None]:
        refuse(self, condition)
        pairs = drawn_groups(self.training_["run_id"], n, 2, rng)
        first, second = (self.training_.weights[pairs[:, i]] for i in (0, 1))
        share = np.float32(self.share)
        return (1 - share) * first + share * second, pairs
