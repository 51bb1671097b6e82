"""Residual network on whole codes with FiLM [1]_ by time and condition at each layer.

References
----------
.. [1] Perez et al., 2018, arXiv:1709.07871: features are scaled and shifted.
"""

from __future__ import annotations

from torch import Tensor, nn

from generators.flow.networks.embedding import TimeAndCondition


class FiLMBlock(nn.Module):
    """Residual block ``h + W2 act(W1 film(norm(h)))``, initially the identity."""

    def __init__(self, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.film = nn.Linear(embedding, 2 * width)
        last = nn.Linear(width, width)
        self.body = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout), last
        )
        for layer in (self.film, last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, h: Tensor, embedded: Tensor) -> Tensor:
        """Return the hidden features (b, width)."""
        scale, shift = self.film(embedded).chunk(2, 1)
        return h + self.body(self.norm(h) * (1 + scale) + shift)


class FiLMMLP(nn.Module):
    """Velocity (b, k) of codes (b, k); zero before training.

    Parameters
    ----------
    k : int
        Length of a code.
    features : int
        Number of features of a condition; 0: no conditions.
    width, depth, embedding : int
        Number of hidden features, of blocks, and of features of time and condition.
    dropout : float
        Probability with which a hidden feature is zeroed in training.
    """

    def __init__(
        self,
        k: int,
        features: int = 0,
        *,
        width: int = 256,
        depth: int = 2,
        embedding: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = TimeAndCondition(embedding, features)
        self.inward = nn.Linear(k, width)
        self.blocks = nn.ModuleList(
            FiLMBlock(width, embedding, dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.film = nn.Linear(embedding, 2 * width)
        self.outward = nn.Linear(width, k)
        # Bypasses the bottleneck: the spread of each code may depend on the condition.
        self.gain = nn.Linear(embedding, k)
        for layer in (self.film, self.outward, self.gain):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the velocity at codes x (b, k) and times t (b, 1)."""
        embedded = nn.functional.silu(self.embedding(t, condition))
        h = self.inward(x)
        for block in self.blocks:
            h = block(h, embedded)
        scale, shift = self.film(embedded).chunk(2, 1)
        velocity: Tensor = self.outward(self.norm(h) * (1 + scale) + shift)
        return velocity + self.gain(embedded) * x
