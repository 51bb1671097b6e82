"""Embedding of times and conditions as vectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LONGEST, SHORTEST = 4.0, 1 / 4
"""Longest and shortest period in time: for all of [0, 1], and for a few steps."""


class TimeAndCondition(nn.Module):
    """Embedding of a time and, if there are any, the features of a condition in one vector.

    Parameters
    ----------
    size : int
        Length of the vector.
    features : int
        Number of features of a condition, see `Conditions`; all features are zero if no
        condition is given.
    """

    frequencies: Tensor

    def __init__(self, size: int, features: int) -> None:
        super().__init__()
        waves = max(size // 4, 1)
        periods = torch.logspace(math.log10(LONGEST), math.log10(SHORTEST), waves)
        self.register_buffer("frequencies", 2 * math.pi / periods, persistent=False)
        self.time = nn.Sequential(
            nn.Linear(2 * waves, size), nn.SiLU(), nn.Linear(size, size)
        )
        self.condition = None
        if features:
            self.condition = nn.Sequential(
                nn.Linear(features, size), nn.SiLU(), nn.Linear(size, size)
            )

    def forward(self, t: Tensor, condition: Tensor | None) -> Tensor:
        """Return the vectors (b, size) of times (b, 1) and features (b, f)."""
        phase = t * self.frequencies
        embedded: Tensor = self.time(torch.cat([phase.sin(), phase.cos()], 1))
        if self.condition is not None and condition is not None:
            embedded = embedded + self.condition(condition)
        return embedded
