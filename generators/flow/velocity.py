"""Velocity of a flow: the known part, the network, and the effect of conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from catalog import NotFound
from catalog.errors import closest
from generators.flow.effect import Effect
from generators.flow.networks.film_mlp import FiLMMLP
from generators.flow.networks.learnt_steps import LearntSteps
from generators.flow.networks.published_mlp import PublishedMLP
from generators.flow.path import Start

NETWORKS: Mapping[str, type[nn.Module]] = {
    "film_mlp": FiLMMLP,
    "learnt_steps": LearntSteps,
    "published_mlp": PublishedMLP,
}
"""Velocity networks by the name that ``velocity=`` takes.

Each is called with k, features and its own sizes, then with codes (b, k), times (b, 1) and
features (b, f) or None. A new network is added here.
"""
GENTLE = 0.1
"""Share of the learning rate for ordinary layers within `LearntSteps`."""


class Velocity(nn.Module):
    """Velocity ``rate(t) x + residual(x, t, condition)``.

    The residual is the network and, with conditions, their linear `Effect`: if codes were
    Gaussian around ``m = effect(condition)``, it would be ``m (1 - t rate(t))``. If the
    buffer ``on`` is False, the network counts as zero, and only the Gaussian remains.

    Parameters
    ----------
    start : GaussianStart or NoStart
        Known part of the velocity.
    network : str
        Name in `NETWORKS`.
    k, features : int
        Length of a code, and number of features of a condition.
    sizes : mapping
        Further arguments of the network.
    effect : bool
        Whether conditions have a linear effect, which `Effect.begin` estimates.
    spread : Tensor of shape (r, k), optional
        Spread of the noise, see `Noise`; not part of the state.

    Raises
    ------
    NotFound
        If there is no such network.
    """

    on: Tensor

    def __init__(
        self,
        start: Start,
        network: str,
        k: int,
        features: int = 0,
        sizes: Mapping[str, Any] | None = None,
        *,
        effect: bool = True,
        spread: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.spread = spread
        if network not in NETWORKS:
            raise NotFound(f"No velocity network {network!r}. {closest(network, NETWORKS)}")
        self.start, self.features = start, features
        self.network = NETWORKS[network](k, features, **(sizes or {}))
        self.effect = Effect(features, k) if features and effect else None
        self.register_buffer("on", torch.ones(1, dtype=torch.bool))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return parameters with the ``share`` of the learning rate of each group."""
        gentle = self.network.gentle() if isinstance(self.network, LearntSteps) else []
        gentle_ids = {id(parameter) for parameter in gentle}
        others = [p for p in self.parameters() if id(p) not in gentle_ids]
        groups = [{"params": others, "share": 1.0}, {"params": gentle, "share": GENTLE}]
        return [group for group in groups if group["params"]]

    def residual(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the residual (b, k) at codes (b, k) and times (b, 1).

        No condition is the same as all features zero.
        """
        if self.features and condition is None:
            condition = x.new_zeros(len(x), self.features)  # as for omitted conditions
        added: Tensor = self.network(x, t, condition) if self.on else torch.zeros_like(x)
        if self.effect is not None and condition is not None:
            added = added + self.effect(condition) * (1 - t * self.start.rate(t))
        return added

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the velocity (b, k)."""
        return self.start.rate(t) * x + self.residual(x, t, condition)
