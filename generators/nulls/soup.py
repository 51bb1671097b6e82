"""Null that averages several training networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from generators.generator import Condition
from generators.nulls.null import Null, drawn_groups, refuse


@dataclass(eq=False)
class Soup(Null):
    """Draws groups of runs, and returns the mean of each.

    Parameters
    ----------
    size : int, default=16
        Number of networks in a group.
    """

    name: ClassVar[str] = "soup"
    summary: ClassVar[str] = "means of several training networks"

    size: int = 16

    def _make(
        self, n: int, rng: np.random.Generator, condition: Condition | None
    ) -> tuple[Array, Array | None]:
        refuse(self, condition)
        runs = self.training_["run_id"]
        groups = drawn_groups(runs, n, self.size, rng, setting="size")
        total = np.zeros((n, self.training_.layout.d))
        for members in groups.T:
            total += self.training_.weights[members]
        return (total / self.size).astype(np.float32), groups
