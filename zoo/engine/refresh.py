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
    """Replace running statistics by the mean of those of some batches, in place.

    What ``torch.optim.swa_utils.update_bn`` does for one module: weights that were
    averaged or interpolated need statistics of their own. Buffers that a forward pass
    in training does not move are kept, and a stack without buffers costs nothing.

    Parameters
    ----------
    weights : StackWeights
        Its buffers are written.
    batches : iterable of Tensor of shape (n, b, *input shape)
        Each counts as much as any other: give them one size, above 1.

    Raises
    ------
    ValueError
        If there are buffers and no batch.
    """
    buffers = weights.buffers
    if not buffers.numel():
        return
    before, total, count = buffers.clone(), torch.zeros_like(buffers), 0
    rate = moved = torch.empty(0)
    for x in batches:
        # A step is r <- (1 - a) r + a s. From zero it leaves a s, whatever a is.
        buffers.zero_()
        architecture.forward(weights.tensors, x, training=True)
        part = buffers.clone()
        if not count:
            # Once more from a s, where that is not zero: (2 - a) a s. Else from one.
            start = torch.where(part == 0, 1.0, part)
            buffers.copy_(start)
            architecture.forward(weights.tensors, x, training=True)
            rate = torch.where(part == 0, 1 - buffers, 2 - buffers / start)
            moved = (part != 0) | (buffers != start)
        total += part
        count += 1
    if not count:
        raise ValueError("refresh needs at least one batch. Got none.")
    buffers.copy_(torch.where(moved, total / (rate * count), before))
