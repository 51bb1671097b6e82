"""Convolution and 2x2 max-pool in one operation.

The image is cut into cells of 2x2 pixels whose four pixels become channels. Each 2x2
block of outputs becomes four output channels, and a k x k kernel becomes a kernel on
cells, padded with zeros. For k = 5 this takes 1.44 times the arithmetic and 2.8 times
less memory for patches, it gives the products four times the rows (enough to be fast),
and the pool is the maximum of four contiguous slabs. Measured: twice as fast.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from zoo.stacked.convolution import Convolution, batch_last, batch_second
from zoo.stacked.linear import LANES


class _Cells(Function):
    """Rearrangement of ``(n, b, c, h, w)`` in any layout to cells ``(n, 4c, H, W, b)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, padding: int, height: int, width: int) -> Tensor:
        n, b, c, h, w = x.shape
        p = padding
        # The last row or column of an odd size is cut off: the pool does not use it.
        seen_h, seen_w = min(h, 2 * height - p), min(w, 2 * width - p)
        ctx.info = p, h, w, seen_h, seen_w
        x = x[:, :, :, :seen_h, :seen_w].permute(0, 2, 3, 4, 1)
        if p or seen_h < 2 * height or seen_w < 2 * width:
            padded = x.new_zeros(n, c, 2 * height, 2 * width, b)
            padded[:, :, p : p + seen_h, p : p + seen_w] = x
            x = padded
        x = x.unflatten(3, (width, 2)).unflatten(2, (height, 2))
        return x.permute(0, 1, 3, 5, 2, 4, 6).reshape(n, 4 * c, height, width, b)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():
            return _FromCells.apply(g, *ctx.info), None, None, None
        return _from_cells(g, *ctx.info), None, None, None


def _from_cells(g: Tensor, p: int, h: int, w: int, seen_h: int, seen_w: int) -> Tensor:
    """Apply the adjoint of `_Cells`: ``(n, 4c, H, W, b)`` to ``(n, b, c, h, w)``."""
    n, c4, height, width, b = g.shape
    g = g.reshape(n, c4 // 4, 2, 2, height, width, b).permute(0, 1, 4, 2, 5, 3, 6)
    out = g.new_empty(g.shape)
    for column in range(
        2
    ):  # two copies with long inner loops are faster than one with short
        out[:, :, :, :, :, column] = g[:, :, :, :, :, column]
    g = out.view(n, c4 // 4, 2 * height, 2 * width, b)
    if (2 * height, 2 * width) != (h, w):
        g = g[:, :, p : p + seen_h, p : p + seen_w]
        if (seen_h, seen_w) != (h, w):
            g = functional.pad(g, (0, 0, 0, w - seen_w, 0, h - seen_h))
    return batch_second(g)


class _FromCells(Function):
    """Differentiable `_from_cells`: its gradient is `_Cells`."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, p: int, h: int, w: int, *seen: int) -> Tensor:
        ctx.info = p, *g.shape[2:4]
        return _from_cells(g, p, h, w, *seen)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        return _Cells.apply(v, *ctx.info), None, None, None, None, None


@cache
def _placement(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return a 0/1 matrix that puts a kernel at each of four offsets in its cells.

    The matrix has the shape ``(height * width, 16 * cells)``. The second result is its
    transpose with padded columns.
    """
    down, across = height // 2 + 1, width // 2 + 1
    places = torch.zeros(height, width, 2, 2, 2 * down, 2 * across)
    for y in range(height):
        for x in range(width):
            for i in range(2):
                for j in range(2):
                    places[y, x, i, j, i + y, j + x] = 1
    places = places.view(height * width, 4, down, 2, across, 2).permute(0, 1, 3, 5, 2, 4)
    matrix = places.reshape(height * width, -1).contiguous().to(device)
    return matrix, functional.pad(matrix.t(), (0, -height * width % LANES)).contiguous()


class _CellKernel(Function):
    """Kernels ``(n, o, c, kh, kw)`` on cells: ``(n, 4o, 4c, kh // 2 + 1, kw // 2 + 1)``."""

    @staticmethod
    def forward(ctx: Any, w: Tensor) -> Tensor:
        n, o, c, height, width = ctx.shape = w.shape
        matrix, _ = _placement(height, width, w.device)
        out = torch.mm(w.reshape(-1, height * width), matrix)
        out = out.view(n, o, c, 4, matrix.shape[1] // 4).permute(0, 3, 1, 2, 4)
        return out.reshape(n, 4 * o, 4 * c, height // 2 + 1, width // 2 + 1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        n, o, c, height, width = ctx.shape
        _, matrix = _placement(height, width, g.device)
        g = g.reshape(n, 4, o, c, matrix.shape[0] // 4).permute(0, 2, 3, 1, 4)
        g = torch.mm(g.reshape(-1, matrix.shape[0]), matrix)
        return g[:, : height * width].view(n, o, c, height, width)


class _SlabPool(Function):
    """Maximum of four offsets plus bias: ``(n, 4o, H, W, b)`` to ``(n, b, o, H, W)``.

    The gradient goes to the first maximum, as in torch. Differences and
    ``threshold_backward`` route it, because boolean masks are ten times slower.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, bias: Tensor) -> Tensor:
        n, o4, height, width, b = y.shape
        y = y.view(n, 2, 2, (o4 // 4) * height * width * b)
        right = y[:, :, 1] - y[:, :, 0]
        rows = torch.maximum(y[:, :, 0], y[:, :, 1])
        below = rows[:, 1] - rows[:, 0]
        out = torch.maximum(rows[:, 0], rows[:, 1]).view(n, o4 // 4, height, width, b)
        ctx.save_for_backward(below, right)
        out += bias.view(n, -1, 1, 1, 1)
        return batch_second(out)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        below, right = ctx.saved_tensors
        n, b, o, height, width = g.shape
        g = batch_last(g)
        bias = g.view(n, o, -1).sum(2)
        if torch.is_grad_enabled():
            out = _Route.apply(g.view(n, -1), below, right)
        else:
            out = _route(g.view(n, -1), below, right)
        return out.view(n, 4 * o, height, width, b), bias


def _route(g: Tensor, below: Tensor, right: Tensor) -> Tensor:
    """Put the gradients ``(n, m)`` of maxima at their places in ``(n, 2, 2, m)``."""
    route = torch.ops.aten.threshold_backward.grad_input
    n, m = g.shape
    half = g.new_empty(n, 2, m)
    route(g, below, 0.0, grad_input=half[:, 1])
    torch.sub(g, half[:, 1], out=half[:, 0])
    out = g.new_empty(n, 2, 2, m)
    route(half, right, 0.0, grad_input=out[:, :, 1])
    torch.sub(half, out[:, :, 1], out=out[:, :, 0])
    return out


class _Route(Function):
    """Differentiable `_route`; the places of the maxima have no derivative."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, below: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(below, right)
        return _route(g, below, right)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None, None]:
        below, right = ctx.saved_tensors
        v = v.reshape(len(v), 2, 2, -1)
        half = _chosen(v[:, :, 0], v[:, :, 1], right)
        return _chosen(half[:, 0], half[:, 1], below), None, None


def _chosen(first: Tensor, second: Tensor, difference: Tensor) -> Tensor:
    """Return ``second`` where the difference is positive, else ``first``; uses no mask."""
    route = torch.ops.aten.threshold_backward
    left: Tensor = first - route(first, difference, 0.0)
    return left + route(second, difference, 0.0)


def conv2d_max_pool2d(x: Tensor, w: Tensor, bias: Tensor, padding: int = 0) -> Tensor:
    """Convolve with stride 1, then max-pool by 2x2, in every network.

    Parameters
    ----------
    x : Tensor of shape (n, b, c, h, w)
        Batches of images.
    w : Tensor of shape (n, o, c, kh, kw)
        Kernels.
    bias : Tensor of shape (n, o)
        Biases.
    padding : int, default=0
        Pixels of zeros on each side.

    Returns
    -------
    Tensor of shape (n, b, o, rows, columns)
    """
    height, width = (
        (x.shape[axis] + 2 * padding - w.shape[axis] + 1) // 2 + w.shape[axis] // 2
        for axis in (3, 4)
    )
    cells = _Cells.apply(x, padding, height, width)
    out: Tensor = _SlabPool.apply(
        Convolution.apply(cells, _CellKernel.apply(w), None, 1), bias
    )
    return out
