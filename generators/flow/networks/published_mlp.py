"""Velocity network of the DeepWeightFlow publication, to measure against."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class PublishedMLP(nn.Module):
    """Velocity network of DeepWeightFlow [1]_: widths h, h/2, h, no conditions.

    The time enters once, as a learned function of the scalar, concatenated to the codes;
    the last layer is initially zero.

    References
    ----------
    .. [1] Gupta et al., 2026, arXiv:2601.05052.
    """

    def __init__(
        self,
        k: int,
        features: int = 0,
        *,
        width: int = 512,
        embedding: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if features:
            raise ValueError("The published network takes no conditions. Use 'film_mlp'.")
        self.time = nn.Sequential(
            nn.Linear(1, embedding), nn.GELU(), nn.Linear(embedding, embedding)
        )
        sizes = (k + embedding, width, width // 2, width)
        layers: list[nn.Module] = []
        for i, (wide, narrow) in enumerate(pairwise(sizes)):
            layers += [nn.Linear(wide, narrow), nn.LayerNorm(narrow), nn.GELU()]
            layers += [nn.Dropout(dropout)] if i < 2 else []
        last = nn.Linear(width, k)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.body = nn.Sequential(*layers, last)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the velocity at codes x (b, k) and times t (b, 1)."""
        velocity: Tensor = self.body(torch.cat([x, self.time(t)], 1))
        return velocity
