"""A velocity that runs the half-made network on learnt inputs and corrects it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from generators.flow.networks.embedding import TimeAndCondition
from generators.flow.networks.learnt_step import LearntStep, input_shape
from zoo import build_architecture

STEP = 0.3
"""Of a learnt step, to begin with."""
PROBED = 32
"""Random networks by which its size is set."""


class LearntSteps(nn.Module):
    """Velocity (b, k) of standardised weights (b, k = d); see `LearntStep`.

    The Gaussian guess at the finished network, ``t / ((1 - t)^2 + t^2)`` of where the path
    is, goes through a few learnt steps; the velocity is what they change, by a gain for
    each weight and, by time and condition, for each tensor.

    Parameters
    ----------
    k : int
    features : int
        Of a condition; 0: none.
    architecture : mapping
        JSON of an `Editable` architecture with k parameters and no buffers.
    steps, inputs, width, embedding : int
        Learnt steps, learnt inputs of each (0: 128, or 64 for convolutions, which see many
        places of each), features of the map of units, and of time and condition.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        k: int,
        features: int = 0,
        *,
        architecture: Mapping[str, Any],
        steps: int = 2,
        inputs: int = 0,
        width: int = 128,
        embedding: int = 16,
    ) -> None:
        super().__init__()
        network = build_architecture(dict(architecture))
        self.register_buffer("mean", torch.zeros(k))
        self.register_buffer("deviation", torch.ones(k))
        self.embedding = TimeAndCondition(embedding, features)
        inputs = inputs or usual_inputs(architecture)
        self.steps = nn.ModuleList(
            LearntStep(network, inputs, width, embedding) for _ in range(steps)
        )
        self.sizes = [network.layout[name].size for name in network.layout.slices]
        self.gains = nn.Linear(embedding, len(self.sizes))
        self.gain = nn.Parameter(torch.zeros(k))
        nn.init.zeros_(self.gains.weight)
        nn.init.zeros_(self.gains.bias)

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Tell what codes are: weights minus their mean (k,), over a deviation (k,)."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        draw = torch.Generator().manual_seed(0)
        some = mean + deviation * torch.randn(PROBED, len(mean), generator=draw)
        none = torch.zeros(PROBED, self.gains.in_features)
        for step in self.steps:
            assert isinstance(step, LearntStep)
            step.begin(some, deviation, none)

    def gentle(self) -> list[nn.Parameter]:
        """Parameters that are learnt at a tenth of the rate: ordinary layers."""
        return [
            parameter
            for name, parameter in self.named_parameters()
            if ".units." in name or name.startswith("embedding.")
        ]

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Velocity at codes x (b, k) and times t (b, 1)."""
        learning = torch.is_grad_enabled()
        with torch.enable_grad():
            embedded = self.embedding(t, condition)
            begun = self.mean + self.deviation * x * (t / ((1 - t) ** 2 + t**2))
            begun = begun if begun.requires_grad else begun.requires_grad_()
            now = begun
            for step in self.steps:
                change = step(now, embedded, learning)
                now = now + STEP * (change if learning else change.detach())
            sizes = torch.tensor(self.sizes)
            gain = torch.repeat_interleave(self.gains(embedded).exp(), sizes, 1)
            found: Tensor = (now - begun) / self.deviation * gain * self.gain.exp()
        return found if learning else found.detach()


def usual_inputs(architecture: Mapping[str, Any]) -> int:
    """How many learnt inputs networks of this JSON take."""
    return 64 if convolves(architecture) else 128


def convolves(architecture: Mapping[str, Any]) -> bool:
    """Whether networks of this JSON see images at many places."""
    return len(input_shape(build_architecture(dict(architecture)))) > 1
