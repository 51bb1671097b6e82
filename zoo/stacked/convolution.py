"""Convolutions of n networks by patches and batched products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from zoo.stacked.linear import bmm


def batch_last(x: Tensor) -> Tensor:
    """Return ``(n, b, c, h, w)`` in any layout as contiguous ``(n, c, h, w, b)``."""
    return x.permute(0, 2, 3, 4, 1).contiguous()


def batch_second(x: Tensor) -> Tensor:
    """View ``(n, c, h, w, b)`` as ``(n, b, c, h, w)``."""
    return x.permute(0, 4, 1, 2, 3)


def patches(x: Tensor, high: int, wide: int, stride: int) -> Tensor:
    """Cut ``(n, c, h, w, b)`` into patches ``(n, c * high * wide, positions * b)``."""
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
    """Apply the adjoint of `patches`, which adds overlapping patches."""
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
    """Convolution of images ``(n, c, h, w, b)`` that is differentiable at any order.

    Kernels are ``(n, o, c, kh, kw)``, the bias ``(n, o)`` or None. The gradients are
    `_IntoImages` and `_IntoKernels`, and the gradients of each of the three functions are
    the other two.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        """Multiply kernels and patches to ``(n, o, rows, columns, b)``."""
        n, o, _, high, wide = w.shape
        rows = (x.shape[2] - high) // stride + 1
        columns = (x.shape[3] - wide) // stride + 1
        image_patches = patches(x, high, wide, stride)
        ctx.save_for_backward(image_patches, w, x)
        ctx.stride, ctx.x_shape = stride, x.shape
        kernels = w.reshape(n, o, -1)
        if bias is None:
            out = torch.bmm(kernels, image_patches)
        else:
            out = torch.baddbmm(bias.unsqueeze(2), kernels, image_patches)
        return out.view(n, o, rows, columns, -1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        """Return the gradients of images, kernels and bias."""
        image_patches, w, x = ctx.saved_tensors
        grad_x = grad_bias = None
        if torch.is_grad_enabled():
            if ctx.needs_input_grad[0]:
                grad_x = _IntoImages.apply(g, w, ctx.x_shape, ctx.stride)
            if ctx.needs_input_grad[2]:
                grad_bias = g.sum((2, 3, 4))
            return (
                grad_x,
                _IntoKernels.apply(g, x, image_patches, w.shape, ctx.stride),
                grad_bias,
                None,
            )
        if ctx.needs_input_grad[0]:
            grad_x = _into_images(g, w, ctx.x_shape, ctx.stride)
        if ctx.needs_input_grad[2]:
            grad_bias = g.reshape(*w.shape[:2], -1).sum(2)
        return grad_x, _into_kernels(g, image_patches, w.shape), grad_bias, None


def _into_images(g: Tensor, w: Tensor, shape: torch.Size, stride: int) -> Tensor:
    """Return the gradient of the images from the gradient of the outputs."""
    n, o, _, high, wide = w.shape
    back = torch.bmm(w.reshape(n, o, -1).mT, g.reshape(n, o, -1))
    return from_patches(back, shape, high, wide, stride)


def _into_kernels(g: Tensor, seen: Tensor, shape: torch.Size) -> Tensor:
    """Return the gradient of the kernels from that of the outputs and image patches."""
    return bmm(g.reshape(*shape[:2], -1), seen.mT).reshape(shape)


class _IntoImages(Function):
    """`_into_images` as a function of the outputs' gradient and the kernels."""

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
        v_patches = patches(v.detach(), w.shape[3], w.shape[4], ctx.stride)
        return out, _IntoKernels.apply(g, v, v_patches, w.shape, ctx.stride), None, None


class _IntoKernels(Function):
    """`_into_kernels` as a function of the outputs' gradient and the images."""

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
        g, x, image_patches = ctx.saved_tensors
        grad_g = grad_x = None
        if ctx.needs_input_grad[0] and torch.is_grad_enabled():
            grad_g = Convolution.apply(x, v, None, ctx.stride)
        elif ctx.needs_input_grad[0]:  # the same product, from the saved patches
            grad_g = torch.bmm(v.reshape(*v.shape[:2], -1), image_patches).view(g.shape)
        if ctx.needs_input_grad[1]:
            grad_x = _IntoImages.apply(g, v, x.shape, ctx.stride)
        return grad_g, grad_x, None, None, None


class _Pad(Function):
    """Padding of ``(n, b, c, h, w)`` in any layout to contiguous ``(n, c, h, w, b)``."""

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
    """Convolve the images of every network.

    Parameters
    ----------
    x : Tensor of shape (n, b, c, h, w) or (1, b, c, h, w)
        Batches of images, or one batch for all networks, which is faster.
    w : Tensor of shape (n, o, c, kh, kw)
        Kernels.
    bias : Tensor of shape (n, o), optional
        Biases.
    stride : int, default=1
        Pixels between two positions of the kernels.
    padding : int, default=0
        Pixels of zeros on each side.

    Returns
    -------
    Tensor of shape (n, b, o, rows, columns)
    """
    if len(x) == len(w):
        return batch_second(Convolution.apply(_Pad.apply(x, padding), w, bias, stride))
    # All networks have the same images, so their kernels form one wide network.
    biases = None if bias is None else bias.reshape(1, -1)
    kernels = w.reshape(1, -1, *w.shape[2:])
    out = Convolution.apply(_Pad.apply(x, padding), kernels, biases, stride)
    return batch_second(out.view(*w.shape[:2], *out.shape[2:]))
