"""Max-pooling of n networks, for pools that are not fused with a convolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from zoo.stacked.convolution import batch_last, batch_second


def _cells(x: Tensor) -> Tensor:
    """View the 2x2 cells of ``(n, c, h, w, b)`` as ``(n, c, H, 2, W, 2, b)``."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    x = x[:, :, : 2 * height, : 2 * width]
    return x.unflatten(3, (width, 2)).unflatten(2, (height, 2))


class _MaxPool(Function):
    """2x2 max-pool whose gradient goes to the first maximum, as in torch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        cells = _cells(batch_last(x))
        left, right = cells[:, :, :, :, :, 0], cells[:, :, :, :, :, 1]
        rows = torch.maximum(left, right)
        ctx.save_for_backward(rows[:, :, :, 1] - rows[:, :, :, 0], right - left)
        return batch_second(torch.maximum(rows[:, :, :, 0], rows[:, :, :, 1]))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        below, across = ctx.saved_tensors
        route = torch.ops.aten.threshold_backward
        n, b, c, h, w = ctx.shape
        g = batch_last(g)
        low = route(g, below, 0.0)
        half = torch.stack((g - low, low), 3)
        right = route(half, across, 0.0)
        out = g.new_zeros(n, c, h, w, b)
        cells = _cells(out)
        cells[:, :, :, :, :, 1] = right
        cells[:, :, :, :, :, 0] = half - right
        return batch_second(out)


def max_pool2d(x: Tensor) -> Tensor:
    """Return the maximum of every 2x2 cell of ``(n, b, c, h, w)``.

    The last row or column of an odd size is dropped.
    """
    out: Tensor = _MaxPool.apply(x)
    return out
