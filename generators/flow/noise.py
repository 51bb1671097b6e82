"""Noise with a covariance, cheap enough for every training step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

POOL = 8192
"""Number of rows in the pool: 32 KiB for each dimension."""
LIFE = 400
"""Number of draws after which the pool is renewed."""


class Noise:
    """Gaussian rows (b, k): standard normal, or with the covariance ``spread.T @ spread``.

    A product with a spread costs more than the rest of a step, so a pool of rows is kept,
    and each draw combines two of them: ``cos(a) x + sin(a) y`` with any angle has the same
    distribution as x and y.

    Parameters
    ----------
    k : int
        Length of a code.
    spread : Tensor of shape (r, k), optional
        Map from r standard normal values to a row. Default: the identity.
    draw : torch.Generator
        Source of the random draws.
    """

    def __init__(self, k: int, spread: Tensor | None, draw: torch.Generator) -> None:
        self.k, self.spread, self._draw = k, spread, draw
        self._pool, self._used = torch.empty(0), 0

    def fresh(self, n: int) -> Tensor:
        """Return independent rows (n, k)."""
        if self.spread is None:
            return torch.randn(n, self.k, generator=self._draw)
        return torch.randn(n, len(self.spread), generator=self._draw) @ self.spread

    def rows(self, n: int) -> Tensor:
        """Return rows (n, k) for one training step."""
        if self.spread is None:
            return self.fresh(n)
        if self._used % LIFE == 0:
            self._pool = self.fresh(POOL)
        self._used += 1
        first, second = torch.randint(POOL, (2, n), generator=self._draw)
        angle = 2 * math.pi * torch.rand(n, 1, generator=self._draw)
        return angle.cos() * self._pool[first] + angle.sin() * self._pool[second]
