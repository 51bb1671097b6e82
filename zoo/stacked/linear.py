"""Linear layers of n networks.

MKL's batched products of small matrices reach 60-85 GFLOP/s a core unless the innermost
size of the result is below 16, where they fall to 10. So each product is computed in the
orientation that avoids that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

LANES = 16
"""Float32 values in a vector register."""


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b``, laid out so that the innermost axis of the result is wide."""
    rows, columns = a.shape[1], b.shape[2]
    if columns % LANES and (rows % LANES == 0 or columns < LANES <= rows):
        return torch.bmm(b.mT, a.mT).mT
    return torch.bmm(a, b)


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        outputs, batch = w.shape[1], x.shape[1]
        if outputs % LANES == 0:
            return torch.baddbmm(b.unsqueeze(1), x, w.mT)
        if batch % LANES == 0:
            return torch.baddbmm(b.unsqueeze(2), w, x.mT).mT
        wide = w.new_zeros(w.shape[0], outputs + -outputs % LANES, w.shape[2])
        wide[:, :outputs] = w
        return torch.bmm(x, wide.mT)[:, :, :outputs].add_(b.unsqueeze(1))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, w = ctx.saved_tensors
        into = None
        if ctx.needs_input_grad[0]:
            # In x's own memory layout: mixed layouts make the passes after it slow.
            rows = x.stride(2) == 1
            into = torch.bmm(g, w) if rows else torch.bmm(w.mT, g.mT).mT
        return into, bmm(g.mT, x), g.sum(1)


def linear(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Affine map of every network.

    Parameters
    ----------
    x : Tensor of shape (n, b, inputs)
        Batches.
    w : Tensor of shape (n, outputs, inputs)
        Weights.
    b : Tensor of shape (n, outputs)
        Biases.

    Returns
    -------
    Tensor of shape (n, b, outputs)
    """
    out: Tensor = _Linear.apply(x, w, b)
    return out
