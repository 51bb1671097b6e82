"""Linear maps of n networks on columns of features: ``(n, features, positions)``.

Transformers keep the positions of all samples innermost. Products then have long rows
at any width, a normalisation over features adds long rows, and a head is a block of
rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from zoo.stacked.product import product


class _LinearColumns(Function):
    """Affine map whose gradients can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, w)
        if b is None:
            return torch.bmm(w, x)
        return torch.baddbmm(b.unsqueeze(2), w, x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        x, w = ctx.saved_tensors
        grad_x = product(w.mT, g) if ctx.needs_input_grad[0] else None
        return grad_x, product(g, x.mT), g.sum(2) if ctx.needs_input_grad[2] else None


def linear_columns(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Map every column by the affine map of its network.

    Parameters
    ----------
    x : Tensor of shape (n, inputs, m)
        Columns.
    w : Tensor of shape (n, outputs, inputs)
        Weights.
    b : Tensor of shape (n, outputs), optional
        Biases.

    Returns
    -------
    Tensor of shape (n, outputs, m)
    """
    out: Tensor = _LinearColumns.apply(x, w, b)
    return out
