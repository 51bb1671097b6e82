"""The gradient of a stack's loss on the batch in memory, recorded once and replayed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.architecture import Architecture
from zoo.engine.replay import replayed
from zoo.engine.stack_weights import StackWeights
from zoo.objective import Batch, Objective

RECORD_FROM = 32
"""Fewer steps are not worth the recording."""


class BatchGradient:
    """Mean gradient over a batch, for every network of a stack.

    Parameters
    ----------
    weights : StackWeights
        Read at every call.
    batch : Batch
        Memory that the caller fills before every call.
    micro_batch : int, optional
        Samples per pass, if the whole batch does not fit the memory. Parts are weighed
        by their share, so the result is the mean over the batch all the same; only
        batch normalisation sees the parts.

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
        """Fill `values`; losses (n,) before the step."""
        return self._call()

    def record(self, classes: int) -> None:
        """Replay recorded kernels from now on, if they prove equal on random batches.

        Parameters
        ----------
        classes : int
            Labels and tokens are drawn below it.
        """
        if self.values.device.type != "cpu":
            return
        draw = torch.Generator().manual_seed(0)
        x, y = self._batch.x, self._batch.y

        def refill() -> None:
            for values in (x, y):
                if values.is_floating_point():
                    values.normal_(generator=draw)
                else:
                    values.random_(0, classes, generator=draw)

        kept = self._weights.buffers.clone()
        self._call = replayed(self._eager, [self.values], refill)
        self._weights.buffers.copy_(kept)

    def _eager(self) -> Tensor:
        x, y = self._batch.x, self._batch.y
        if self._micro == x.shape[1]:
            return self._part(self._batch, self.values)
        total = torch.zeros_like(self._ones)
        self.values.zero_()
        part = torch.empty_like(self.values)
        for start in range(0, x.shape[1], self._micro):
            rows = slice(start, start + self._micro)
            piece = Batch(x[:, rows], y[:, rows], self._batch.constants)
            share = piece.x.shape[1] / x.shape[1]
            total += share * self._part(piece, part)
            self.values.add_(part, alpha=share)
        return total

    def _part(self, batch: Batch, out: Tensor) -> Tensor:
        weights, n = self._weights, len(self.values)
        losses = self._objective.loss(
            self._architecture, weights.tensors, batch, training=True
        )
        grads = torch.autograd.grad(losses, weights.trainable, self._ones)
        torch.cat([g.reshape(n, -1) for g in grads], 1, out=out)
        return losses.detach()
