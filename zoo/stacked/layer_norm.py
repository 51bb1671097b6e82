"""Layer normalisation of n networks on columns of features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

EPSILON = 1e-5
"""Added to variances."""


class _Standardize(Function):
    """Standardisation of columns to mean 0 and variance 1, and the factors used.

    The backward pass uses only the two results. Autograd knows both as functions of x, so
    it can differentiate the backward pass as well.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x - x.mean(1, keepdim=True)
        scale = y.square().mean(1, keepdim=True).add_(EPSILON).rsqrt_()
        y *= scale
        ctx.save_for_backward(y, scale)
        ctx.set_materialize_grads(False)
        return y, scale

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, over: Tensor | None) -> Tensor | None:
        y, scale = ctx.saved_tensors
        grad_x = None
        if g is not None:
            along = (g * y).mean(1, keepdim=True)
            grad_x = scale * (g - torch.addcmul(g.mean(1, keepdim=True), y, along))
        if over is not None:
            grad_by_scale = y * (over * scale.square() / -y.shape[1])
            grad_x = grad_by_scale if grad_x is None else grad_x + grad_by_scale
        return grad_x


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Normalise the features of every column, as `torch.nn.LayerNorm` does.

    Parameters
    ----------
    x : Tensor of shape (n, d, m)
        Columns of d features.
    weight, bias : Tensor of shape (n, d)
        Scales and shifts.

    Returns
    -------
    Tensor of shape (n, d, m)
    """
    y, _ = _Standardize.apply(x)
    return torch.addcmul(bias.unsqueeze(2), y, weight.unsqueeze(2))
