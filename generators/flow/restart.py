"""Samples made noisy and finished again: errors of a velocity are corrected by itself.

References
----------
.. [1] Xu et al., 2023, arXiv:2306.14878, restart sampling. Differs: all restarts are at one
   time, with less noise than was there, and by a single step of Euler, which spreads what
   it makes a little, where accurate ones and less noise shrink it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from generators.flow.path import Start, interpolate
from generators.flow.solver import Residual, Solver

ASKED_TIMES, ASKED_GUIDANCE = 16, 1.5
"""Restarts and guidance of samples with a condition.

Every restart takes networks nearer to what most are like, whatever was asked for: 64 leave
a tenth of what asking for an accuracy changes, 16 with guidance 1.5 four fifths of it
(digits, validation images, one fit).
"""


@dataclass(frozen=True)
class Restart:
    """How often, and from where.

    The defaults were chosen for `LearntSteps` on digits and MNIST, by validation images of
    one fit each.

    Attributes
    ----------
    times : int
    at : float
        Time to which samples go back, in (0, 1).
    noise : float
        Deviation of what is added, in that of the path at this time.
    steps : int
        Of Euler, back to time 1.
    """

    times: int = 64
    at: float = 0.85
    noise: float = 0.4
    steps: int = 1

    def __post_init__(self) -> None:
        for name, fine, asked in (
            ("times", self.times >= 0, "0 or more"),
            ("at", 0 < self.at < 1, "between 0 and 1"),
            ("noise", self.noise >= 0, "0 or more"),
            ("steps", self.steps >= 1, "1 or more"),
        ):
            if not fine:
                raise ValueError(
                    f"{name} of Restart must be {asked}. Got {getattr(self, name)!r}."
                )

    def refine(
        self, ends: Tensor, residual: Residual, start: Start, noise: Callable[[int], Tensor]
    ) -> Tensor:
        """Codes (b, k) again; of those that run away, as those of a poor fit may, as given.

        Parameters
        ----------
        noise : callable
            Rows (b, k) of standard noise for restart i.
        """
        at = ends.new_full((1, 1), self.at)
        size = self.noise * start.scale(torch.zeros_like(at))
        solver = Solver("euler", self.steps)
        given = ends
        for i in range(self.times):
            back = interpolate(size * noise(i), ends, at)
            ends = solver.solve(residual, start, back, begin=self.at)
        return torch.where(ends.isfinite().all(1, keepdim=True), ends, given)
