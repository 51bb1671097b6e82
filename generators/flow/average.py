"""A moving average of a network's weights, which samples better than the last of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MovingAverage:
    """Exponential moving average of all parameters.

    Parameters
    ----------
    network : nn.Module
    decay : float
        Share that is kept per step, once ``(1 + i) / (10 + i)`` of step i has reached it:
        early on, the beginning is forgotten faster. 0: the weights as they are.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay, self._steps = network, decay, 0
        self.state: dict[str, Tensor] = _copied(network)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after one more step."""
        share = 1 - min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._steps += 1
        for name, value in self._network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, share)
            else:
                self.state[name].copy_(value)


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}
