"""Re-estimation of the statistics of batch normalisation."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from zoo.architecture import Architecture
from zoo.engine.stack_weights import StackWeights


@torch.no_grad()
def refresh(
    architecture: Architecture, weights: StackWeights, batches: Iterable[Tensor]
) -> None:
    """Replace running statistics by the mean statistics of some batches, in place.

    Weights that were averaged or interpolated need new statistics. The result is that of
    ``torch.optim.swa_utils.update_bn`` for one module. Buffers that a forward pass in
    training does not change are kept, and a stack without buffers costs nothing.

    Parameters
    ----------
    weights : StackWeights
        Weights of the stack; their buffers are overwritten.
    batches : iterable of Tensor of shape (n, b, *input shape)
        Batches with equal weights, so all must have the same size b > 1.

    Raises
    ------
    ValueError
        If there are buffers and no batch.
    """
    buffers = weights.buffers
    if not buffers.numel():
        return
    before, total, count = buffers.clone(), torch.zeros_like(buffers), 0
    rate = is_updated = torch.empty(0)
    for x in batches:
        # A step is r <- (1 - a) r + a s. From r = 0 it gives a s, for any a.
        buffers.zero_()
        architecture.forward(weights.tensors, x, training=True)
        part = buffers.clone()
        if not count:
            # A second step from a s gives (2 - a) a s, hence a. Where a s is zero, the
            # second step starts from one.
            start = torch.where(part == 0, 1.0, part)
            buffers.copy_(start)
            architecture.forward(weights.tensors, x, training=True)
            rate = torch.where(part == 0, 1 - buffers, 2 - buffers / start)
            is_updated = (part != 0) | (buffers != start)
        total += part
        count += 1
    if not count:
        raise ValueError("refresh needs at least one batch, but batches is empty.")
    buffers.copy_(torch.where(is_updated, total / (rate * count), before))
