"""Velocity that runs the unfinished network on learnt inputs and corrects it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from generators.flow.networks.embedding import TimeAndCondition
from generators.flow.networks.learnt_step import LearntStep, input_shape
from zoo import build_architecture

STEP = 0.3
"""Initial size of a learnt step."""
PROBED = 32
"""Number of random networks with which the size of steps is set."""


class LearntSteps(nn.Module):
    """Velocity (b, k) of standardised weights (b, k = d); see `LearntStep`.

    The Gaussian estimate of the finished network, ``t / ((1 - t)^2 + t^2)`` times the point
    of the path, goes through a few learnt steps; the velocity is the change that they make,
    multiplied by a gain for each weight and by a gain for each tensor that depends on time
    and condition.

    Parameters
    ----------
    k : int
        Number of weights of a network, the length of a code.
    features : int
        Number of features of a condition; 0: no conditions.
    architecture : mapping
        JSON of an `Editable` architecture with k parameters and no buffers.
    steps, inputs, width, embedding : int
        Number of learnt steps, of learnt inputs of each (0: 128, or 64 for convolutions,
        which see many places of each), of features of the map of units, and of features of
        time and condition.
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
        """Set the mean (k,) and standard deviation (k,) by which weights become codes.

        The initial size of the steps follows from them.
        """
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        draw = torch.Generator().manual_seed(0)
        weights = mean + deviation * torch.randn(PROBED, len(mean), generator=draw)
        embedded = torch.zeros(PROBED, self.gains.in_features)
        for step in self.steps:
            assert isinstance(step, LearntStep)
            step.begin(weights, deviation, embedded)

    def gentle(self) -> list[nn.Parameter]:
        """Return the parameters of ordinary layers, learnt at a tenth of the rate."""
        return [
            parameter
            for name, parameter in self.named_parameters()
            if ".units." in name or name.startswith("embedding.")
        ]

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the velocity at codes x (b, k) and times t (b, 1)."""
        learning = torch.is_grad_enabled()
        with torch.enable_grad():
            embedded = self.embedding(t, condition)
            estimate = self.mean + self.deviation * x * (t / ((1 - t) ** 2 + t**2))
            estimate = estimate if estimate.requires_grad else estimate.requires_grad_()
            weights = estimate
            for step in self.steps:
                change = step(weights, embedded, learning)
                weights = weights + STEP * (change if learning else change.detach())
            sizes = torch.tensor(self.sizes)
            gain = torch.repeat_interleave(self.gains(embedded).exp(), sizes, 1)
            velocity: Tensor = (
                (weights - estimate) / self.deviation * gain * self.gain.exp()
            )
        return velocity if learning else velocity.detach()


def usual_inputs(architecture: Mapping[str, Any]) -> int:
    """Return the default number of learnt inputs for networks of this JSON."""
    return 64 if convolves(architecture) else 128


def convolves(architecture: Mapping[str, Any]) -> bool:
    """Return whether networks of this JSON see images at many places."""
    return len(input_shape(build_architecture(dict(architecture)))) > 1
