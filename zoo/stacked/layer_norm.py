"""Layer normalisation of n networks on features that lie first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

EPSILON = 1e-5
"""Added to variances."""


class _Standardize(Function):
    """Each column with mean 0 and variance 1, and what it was multiplied by.

    The backward pass uses the results only. Autograd knows them both as functions of x,
    so it can differentiate the backward pass as well.
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
        out = None
        if g is not None:
            along = (g * y).mean(1, keepdim=True)
            out = scale * (g - torch.addcmul(g.mean(1, keepdim=True), y, along))
        if over is not None:
            part = y * (over * scale.square() / -y.shape[1])
            out = part if out is None else out + part
        return out


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Normalise the features of every column, as `torch.nn.LayerNorm`.

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
