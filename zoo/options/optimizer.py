"""Optimisers of stacks, with a learning rate, momentum and weight decay per network.

Each optimiser works in place on flat buffers of shape ``(n, d)`` and computes, row by row,
the same as torch's optimiser of the same name computes for one network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from catalog import NotFound
from catalog.errors import closest


class Optimizer(Protocol):
    """Protocol of optimisers, which move the weights of a stack by one step."""

    def step(self, gradient: Tensor, factor: float) -> None:
        """Update the weights in place.

        Parameters
        ----------
        gradient : Tensor of shape (n, d)
            Gradient of the loss; it may be overwritten.
        factor : float
            Factor of the learning rates, from the schedule.
        """


class StackOptimizer(ABC):
    """Base class of optimisers whose settings differ between networks.

    Parameters
    ----------
    weights : Tensor of shape (n, d)
        Weights, which are updated in place.
    lr, momentum, weight_decay : Tensor of shape (n, 1)
        Settings, one value per network.

    Attributes
    ----------
    buffers : int
        Number of tensors like the weights that the optimiser keeps.
    """

    buffers: ClassVar[int]

    def __init__(
        self, weights: Tensor, lr: Tensor, momentum: Tensor, weight_decay: Tensor
    ) -> None:
        self._weights, self._lr = weights, lr
        self._momentum, self._decay = momentum, weight_decay
        self._decays = bool(weight_decay.any())
        self._kept = [torch.zeros_like(weights) for _ in range(self.buffers)]

    @abstractmethod
    def step(self, gradient: Tensor, factor: float) -> None:
        """Update the weights in place, see `Optimizer`."""


class SGD(StackOptimizer):
    """Stochastic gradient descent with momentum and coupled weight decay."""

    buffers = 1

    @torch.no_grad()
    def step(self, gradient: Tensor, factor: float) -> None:
        """Update the weights in place."""
        if self._decays:
            gradient.addcmul_(self._weights, self._decay)
        (velocity,) = self._kept
        torch.addcmul(gradient, velocity, self._momentum, out=velocity)
        self._weights.addcmul_(velocity, self._lr, value=-factor)


class Adam(StackOptimizer):
    """Adam with coupled weight decay.

    ``momentum`` is beta_1, beta_2 is 0.999, and epsilon is 1e-8.
    """

    buffers = 2
    decoupled = False
    beta2, epsilon = 0.999, 1e-8

    def __init__(
        self, weights: Tensor, lr: Tensor, momentum: Tensor, weight_decay: Tensor
    ) -> None:
        super().__init__(weights, lr, momentum, weight_decay)
        self._power1 = torch.ones_like(momentum)
        self._steps = 0

    @torch.no_grad()
    def step(self, gradient: Tensor, factor: float) -> None:
        """Update the weights in place."""
        rate, beta1, (first, second) = self._lr * factor, self._momentum, self._kept
        if self._decays and self.decoupled:
            self._weights.mul_(1 - rate * self._decay)
        elif self._decays:
            gradient.addcmul_(self._weights, self._decay)
        self._steps += 1
        self._power1 *= beta1
        first.mul_(beta1).addcmul_(gradient, 1 - beta1)
        second.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        scale = (1 - self.beta2**self._steps) ** 0.5
        root = torch.sqrt(second, out=gradient).div_(scale).add_(self.epsilon)
        update = torch.div(first, root, out=root)
        self._weights.addcmul_(update, rate / (1 - self._power1), value=-1)


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    decoupled = True


class _Fused:
    """Torch's fused Adam or AdamW, for a stack whose networks share all settings.

    The fused step passes over the memory once instead of nine times and is three to four
    times as fast.
    """

    def __init__(
        self,
        kind: type[torch.optim.Adam],
        weights: Tensor,
        lr: float,
        beta1: float,
        weight_decay: float,
    ) -> None:
        self._weights, self._lr = weights, lr
        self._optimizer = kind(
            [weights], lr, (beta1, Adam.beta2), Adam.epsilon, weight_decay, fused=True
        )

    def step(self, gradient: Tensor, factor: float) -> None:
        """Update the weights in place."""
        self._weights.grad = gradient
        self._optimizer.param_groups[0]["lr"] = self._lr * factor
        self._optimizer.step()


def make_optimizer(
    name: str, weights: Tensor, lr: Tensor, momentum: Tensor, weight_decay: Tensor
) -> Optimizer:
    """Return the fastest optimiser of a name; the rest is as for `SGD`."""
    settings = [column.unique() for column in (lr, momentum, weight_decay)]
    if name in _FUSED and all(len(values) == 1 for values in settings):
        lr_, beta1, decay = (float(values) for values in settings)
        return _Fused(_FUSED[name], weights, lr_, beta1, decay)
    return OPTIMIZERS[name](weights, lr, momentum, weight_decay)


_FUSED = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}

OPTIMIZERS: dict[str, type[StackOptimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def check_optimizer(name: str) -> None:
    """Raise `NotFound` unless there is an optimiser of that name."""
    if name not in OPTIMIZERS:
        raise NotFound(f"No optimizer {name!r}. {closest(name, OPTIMIZERS)}")
