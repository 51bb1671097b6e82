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
    """``x (n, c, h, w, b)``, ``w (n, o, c, kh, kw)``, bias ``(n, o)`` or None.

    Its gradients are `_IntoImages` and `_IntoKernels`, and the gradients of those are
    the other two: so it can be differentiated any number of times.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        """Products of kernels and patches, ``(n, o, rows, columns, b)``."""
        n, o, _, high, wide = w.shape
        rows = (x.shape[2] - high) // stride + 1
        columns = (x.shape[3] - wide) // stride + 1
        seen = patches(x, high, wide, stride)
        ctx.save_for_backward(seen, w, x)
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
        seen, w, x = ctx.saved_tensors
        into = over = None
        if torch.is_grad_enabled():
            if ctx.needs_input_grad[0]:
                into = _IntoImages.apply(g, w, ctx.x_shape, ctx.stride)
            if ctx.needs_input_grad[2]:
                over = g.sum((2, 3, 4))
            return into, _IntoKernels.apply(g, x, seen, w.shape, ctx.stride), over, None
        if ctx.needs_input_grad[0]:
            into = _into_images(g, w, ctx.x_shape, ctx.stride)
        if ctx.needs_input_grad[2]:
            over = g.reshape(*w.shape[:2], -1).sum(2)
        return into, _into_kernels(g, seen, w.shape), over, None


def _into_images(g: Tensor, w: Tensor, shape: torch.Size, stride: int) -> Tensor:
    """Gradient of the images from that of the outputs."""
    n, o, _, high, wide = w.shape
    back = torch.bmm(w.reshape(n, o, -1).mT, g.reshape(n, o, -1))
    return from_patches(back, shape, high, wide, stride)


def _into_kernels(g: Tensor, seen: Tensor, shape: torch.Size) -> Tensor:
    """Gradient of the kernels from that of the outputs and the images' patches."""
    return bmm(g.reshape(*shape[:2], -1), seen.mT).reshape(shape)


class _IntoImages(Function):
    """`_into_images` as a function of outputs' gradient and kernels."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, w: Tensor, shape: torch.Size, stride: int) -> Tensor:
        ctx.save_for_backward(g, w)
        ctx.stride = stride
        return _into_images(g, w, shape, stride)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor, None, None]:
        g, w = ctx.saved_tensors
        v = v.contiguous()
        out = Convolution.apply(v, w, None, ctx.stride)
        seen = patches(v.detach(), w.shape[3], w.shape[4], ctx.stride)
        return out, _IntoKernels.apply(g, v, seen, w.shape, ctx.stride), None, None


class _IntoKernels(Function):
    """`_into_kernels` as a function of outputs' gradient and images."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, seen: Tensor, shape: torch.Size, stride: int
    ) -> Tensor:
        ctx.save_for_backward(g, x, seen)
        ctx.stride = stride
        return _into_kernels(g, seen, shape)

    @staticmethod
    def backward(
        ctx: Any, v: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        g, x, seen = ctx.saved_tensors
        out = into = None
        if ctx.needs_input_grad[0] and torch.is_grad_enabled():
            out = Convolution.apply(x, v, None, ctx.stride)
        elif ctx.needs_input_grad[0]:  # the same product; the patches are at hand
            out = torch.bmm(v.reshape(*v.shape[:2], -1), seen).view(g.shape)
        if ctx.needs_input_grad[1]:
            into = _IntoImages.apply(g, v, x.shape, ctx.stride)
        return out, into, None, None, None


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
    x : Tensor of shape (n, b, c, h, w) or (1, b, c, h, w)
        Batches of images, or one for all networks, which is faster.
    w : Tensor of shape (n, o, c, kh, kw)
        Kernels.
    bias : Tensor of shape (n, o), optional
        Biases.

    Returns
    -------
    Tensor of shape (n, b, o, rows, columns)
    """
    if len(x) == len(w):
        return batch_second(Convolution.apply(_Pad.apply(x, padding), w, bias, stride))
    # All networks see the same images: their kernels are those of one wide network.
    wide = None if bias is None else bias.reshape(1, -1)
    kernels = w.reshape(1, -1, *w.shape[2:])
    out = Convolution.apply(_Pad.apply(x, padding), kernels, wide, stride)
    return batch_second(out.view(*w.shape[:2], *out.shape[2:]))
