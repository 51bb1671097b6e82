"""Batched matrix products whose gradients are fast products too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from zoo.stacked.linear import bmm


class _Product(Function):
    """Batched product whose gradients, at any order, are products of the same kind."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, plus: Tensor | None) -> Tensor:
        ctx.save_for_backward(a, b)
        return bmm(a, b) if plus is None else torch.baddbmm(plus, a, b)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        a, b = ctx.saved_tensors
        left = product(g, b.mT) if ctx.needs_input_grad[0] else None
        right = product(a.mT, g) if ctx.needs_input_grad[1] else None
        return left, right, None


def product(a: Tensor, b: Tensor, plus: Tensor | None = None) -> Tensor:
    """Return ``a @ b + plus`` of every network, in the faster orientation.

    The orientation is that of `linear.bmm`, for the gradients too.

    Parameters
    ----------
    a : Tensor of shape (n, rows, k)
        Left factors.
    b : Tensor of shape (n, k, columns)
        Right factors.
    plus : Tensor, optional
        Constant that can be expanded to the shape of the result.

    Returns
    -------
    Tensor of shape (n, rows, columns)
        Products, in any memory layout.
    """
    out: Tensor = _Product.apply(a, b, plus)
    return out
