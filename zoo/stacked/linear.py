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
        if torch.is_grad_enabled():
            found: tuple[Tensor | None, Tensor, Tensor] = _LinearGradient.apply(
                g, x, w, ctx.needs_input_grad[0]
            )
            return found
        into = _into_inputs(g, w, x) if ctx.needs_input_grad[0] else None
        return into, _into_weights(g, x), g.sum(1)


def _into_inputs(g: Tensor, w: Tensor, x: Tensor) -> Tensor:
    """Gradient of the inputs x from that of the outputs."""
    # In x's own memory layout: mixed layouts make the passes after it slow.
    return torch.bmm(g, w) if x.stride(2) == 1 else torch.bmm(w.mT, g.mT).mT


def _into_weights(g: Tensor, x: Tensor) -> Tensor:
    """Gradient of the weights."""
    n, batch, outputs = g.shape
    if n > 1 and x.stride(0) == 0 and g.mT.is_contiguous():
        # All networks see the same: one large product, not many small ones.
        return torch.mm(g.mT.reshape(n * outputs, batch), x[0]).view(n, outputs, -1)
    return bmm(g.mT, x)


def _products(x: Tensor, w: Tensor, like: Tensor, plus: Tensor | None) -> Tensor:
    """``x w^T``, plus what is given, in the memory layout of ``like``."""
    rows = like.stride(2) == 1
    if plus is None and not rows and len(x) > 1 and x.stride(0) == 0:
        return torch.mm(w.reshape(-1, w.shape[2]), x[0].mT).view(*w.shape[:2], -1).mT
    if plus is None:
        return torch.bmm(x, w.mT) if rows else torch.bmm(w, x.mT).mT
    if rows:
        return torch.baddbmm(plus, x, w.mT)
    return torch.baddbmm(plus.mT, w, x.mT).mT


class _LinearGradient(Function):
    """The gradients of `_Linear` as a function of outputs' gradient, inputs, weights.

    Made of products that torch can differentiate further.
    """

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, w: Tensor, inputs: bool
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        ctx.save_for_backward(g, x, w)
        ctx.set_materialize_grads(False)
        into = _into_inputs(g, w, x) if inputs else None
        return into, _into_weights(g, x), g.sum(1)

    @staticmethod
    def backward(
        ctx: Any, u: Tensor | None, v: Tensor | None, b: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """From cotangents of the three gradients."""
        g, x, w = ctx.saved_tensors
        back = None
        if v is not None:
            back = _products(x, v, g, None)
        if u is not None:
            back = _products(u, w, g, back)
        if b is not None:
            moved = b.unsqueeze(1)
            back = moved.expand(g.shape) if back is None else back + moved
        into = over = None
        if v is not None and ctx.needs_input_grad[1]:
            into = _into_inputs(g, v, x)
        if u is not None and ctx.needs_input_grad[2]:
            over = _into_weights(g, u)
        return back, into, over, None


def affine(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
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
