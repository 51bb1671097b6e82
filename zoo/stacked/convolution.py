"""Convolutions of n networks as patches and batched products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from zoo.stacked.linear import bmm


def batch_last(x: Tensor) -> Tensor:
    """``(n, b, c, h, w)`` in any memory as contiguous ``(n, c, h, w, b)``."""
    return x.permute(0, 2, 3, 4, 1).contiguous()


def batch_second(x: Tensor) -> Tensor:
    """The ``(n, b, c, h, w)`` view of ``(n, c, h, w, b)``."""
    return x.permute(0, 4, 1, 2, 3)


def patches(x: Tensor, high: int, wide: int, stride: int) -> Tensor:
    """``(n, c, h, w, b)`` as ``(n, c * high * wide, positions * b)``."""
    n, c, h, w, b = x.shape
    if high == wide == stride == 1:
        return x.reshape(n, c, h * w * b)
    rows, columns = (h - high) // stride + 1, (w - wide) // stride + 1
    sn, sc, sh, sw, sb = x.stride()
    view = x.as_strided(
        (n, c, high, wide, rows, columns, b),
        (sn, sc, sh, sw, sh * stride, sw * stride, sb),
        x.storage_offset(),
    )
    return view.reshape(n, c * high * wide, rows * columns * b)


def from_patches(g: Tensor, shape: torch.Size, high: int, wide: int, stride: int) -> Tensor:
    """The adjoint of `patches`: what overlaps is added."""
    n, c, h, w, b = shape
    if high == wide == stride == 1:
        return g.view(shape)
    rows, columns = (h - high) // stride + 1, (w - wide) // stride + 1
    g = g.view(n, c, high, wide, rows, columns, b)
    x = g.new_zeros(shape)
    for i in range(high):
        for j in range(wide):
            down = slice(i, i + stride * rows, stride)
            across = slice(j, j + stride * columns, stride)
            x[:, :, down, across] += g[:, :, i, j]
    return x


class Convolution(Function):
    """``x (n, c, h, w, b)``, ``w (n, o, c, kh, kw)``, bias ``(n, o)`` or None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        """Products of kernels and patches, ``(n, o, rows, columns, b)``."""
        n, o, _, high, wide = w.shape
        rows = (x.shape[2] - high) // stride + 1
        columns = (x.shape[3] - wide) // stride + 1
        seen = patches(x, high, wide, stride)
        ctx.save_for_backward(seen, w)
        ctx.stride, ctx.x_shape = stride, x.shape
        kernels = w.reshape(n, o, -1)
        if bias is None:
            out = torch.bmm(kernels, seen)
        else:
            out = torch.baddbmm(bias.unsqueeze(2), kernels, seen)
        return out.view(n, o, rows, columns, -1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        """Gradients of images, kernels and bias."""
        seen, w = ctx.saved_tensors
        n, o, _, high, wide = w.shape
        g = g.reshape(n, o, -1)
        into = over = None
        if ctx.needs_input_grad[0]:
            back = torch.bmm(w.reshape(n, o, -1).mT, g)
            into = from_patches(back, ctx.x_shape, high, wide, ctx.stride)
        if ctx.needs_input_grad[2]:
            over = g.sum(2)
        return into, bmm(g, seen.mT).reshape(w.shape), over, None


class _Pad(Function):
    """``(n, b, c, h, w)`` in any memory as padded, contiguous ``(n, c, h, w, b)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, padding: int) -> Tensor:
        ctx.padding = p = padding
        if not p:
            return batch_last(x)
        n, b, c, h, w = x.shape
        out = x.new_zeros(n, c, h + 2 * p, w + 2 * p, b)
        out[:, :, p : p + h, p : p + w] = x.permute(0, 2, 3, 4, 1)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        p = ctx.padding
        return batch_second(g[:, :, p:-p, p:-p] if p else g), None


def conv2d(
    x: Tensor, w: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> Tensor:
    """Convolution of every network.

    Parameters
    ----------
    x : Tensor of shape (n, b, c, h, w)
        Batches of images.
    w : Tensor of shape (n, o, c, kh, kw)
        Kernels.
    bias : Tensor of shape (n, o), optional
        Biases.

    Returns
    -------
    Tensor of shape (n, b, o, rows, columns)
    """
    return batch_second(Convolution.apply(_Pad.apply(x, padding), w, bias, stride))
