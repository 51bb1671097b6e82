"""Noise with a covariance, cheap enough for every step of training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

POOL = 8192
"""Rows that are kept: 32 KiB for each dimension."""
LIFE = 400
"""Draws after which they are made anew."""


class Noise:
    """Gaussian rows (b, k): standard normal, or with the covariance ``spread.T @ spread``.

    A product with a spread costs more than the rest of a step, so rows are kept, and each
    draw turns two of them into one: ``cos(a) x + sin(a) y`` with any angle has the same
    distribution as x and y.

    Parameters
    ----------
    k : int
    spread : Tensor of shape (r, k), optional
    draw : torch.Generator
    """

    def __init__(self, k: int, spread: Tensor | None, draw: torch.Generator) -> None:
        self.k, self.spread, self._draw = k, spread, draw
        self._pool, self._used = torch.empty(0), 0

    def fresh(self, n: int) -> Tensor:
        """Independent rows (n, k)."""
        if self.spread is None:
            return torch.randn(n, self.k, generator=self._draw)
        return torch.randn(n, len(self.spread), generator=self._draw) @ self.spread

    def rows(self, n: int) -> Tensor:
        """Rows (n, k) for one step of training."""
        if self.spread is None:
            return self.fresh(n)
        if self._used % LIFE == 0:
            self._pool = self.fresh(POOL)
        self._used += 1
        first, second = torch.randint(POOL, (2, n), generator=self._draw)
        angle = 2 * math.pi * torch.rand(n, 1, generator=self._draw)
        return angle.cos() * self._pool[first] + angle.sin() * self._pool[second]
