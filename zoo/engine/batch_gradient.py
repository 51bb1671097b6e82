"""Gradient of a stack's loss on one batch, recorded once and replayed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.architecture import Architecture
from zoo.engine.replay import replayed
from zoo.engine.stack_weights import StackWeights
from zoo.objective import Batch, Objective

RECORD_FROM = 32
"""Fewest steps of training that are worth a recording."""


class BatchGradient:
    """Mean gradient over a batch, for every network of a stack.

    Parameters
    ----------
    weights : StackWeights
        Weights of the stack, read at every call.
    batch : Batch
        Memory that the caller fills before every call.
    micro_batch : int, optional
        Number of samples per pass, if the whole batch does not fit the memory. Each part
        is weighted by its share of the batch, so the result is still the mean over the
        batch; only batch normalisation depends on the parts.

    Attributes
    ----------
    values : Tensor of shape (n, p)
        The gradient, after a call.
    """

    def __init__(
        self,
        architecture: Architecture,
        objective: Objective,
        weights: StackWeights,
        batch: Batch,
        micro_batch: int | None = None,
    ) -> None:
        self._architecture, self._objective = architecture, objective
        self._weights, self._batch = weights, batch
        size = batch.x.shape[1]
        self._micro = size if micro_batch is None else min(micro_batch, size)
        self.values = torch.empty_like(weights.parameters)
        self._ones = torch.ones(len(self.values), device=self.values.device)
        self._call: Callable[[], Tensor] = self._eager

    def __call__(self) -> Tensor:
        """Fill `values` and return the losses (n,) before the step."""
        return self._call()

    def record(self, classes: int) -> None:
        """Replay recorded kernels from now on, if they give equal bits on random batches.

        Only gradients on a CPU are recorded.

        Parameters
        ----------
        classes : int
            Upper bound (exclusive) of the labels and tokens of the random batches.
        """
        if self.values.device.type != "cpu":
            return
        generator = torch.Generator().manual_seed(0)
        x, y = self._batch.x, self._batch.y

        def refill() -> None:
            for values in (x, y):
                if values.is_floating_point():
                    values.normal_(generator=generator)
                else:
                    values.random_(0, classes, generator=generator)

        buffers = self._weights.buffers.clone()
        self._call = replayed(self._eager, [self.values], refill)
        self._weights.buffers.copy_(buffers)

    def _eager(self) -> Tensor:
        """Compute the gradient, in parts if a micro-batch is set."""
        x, y = self._batch.x, self._batch.y
        if self._micro == x.shape[1]:
            return self._part(self._batch, self.values)
        total = torch.zeros_like(self._ones)
        self.values.zero_()
        part_gradient = torch.empty_like(self.values)
        for start in range(0, x.shape[1], self._micro):
            rows = slice(start, start + self._micro)
            part_batch = Batch(x[:, rows], y[:, rows], self._batch.constants)
            share = part_batch.x.shape[1] / x.shape[1]
            total += share * self._part(part_batch, part_gradient)
            self.values.add_(part_gradient, alpha=share)
        return total

    def _part(self, batch: Batch, out: Tensor) -> Tensor:
        """Write the mean gradient of a batch to ``out`` and return its losses."""
        weights, n = self._weights, len(self.values)
        losses = self._objective.loss(
            self._architecture, weights.tensors, batch, training=True
        )
        grads = torch.autograd.grad(losses, weights.trainable, self._ones)
        torch.cat([g.reshape(n, -1) for g in grads], 1, out=out)
        return losses.detach()
