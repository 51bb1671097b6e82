"""Linear layers of n networks.

MKL's batched products of small matrices reach 60-85 GFLOP/s a core, but only 10 if the
innermost size of the result is below 16. So each product is computed in the orientation
that avoids a small innermost size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

LANES = 16
"""Number of float32 values in a vector register."""


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b``, laid out so that the innermost axis of the result is wide."""
    rows, columns = a.shape[1], b.shape[2]
    if columns % LANES and (rows % LANES == 0 or columns < LANES <= rows):
        return torch.bmm(b.mT, a.mT).mT
    return torch.bmm(a, b)


class _Linear(Function):
    """Affine map of every network, in the fastest orientation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        outputs, batch = w.shape[1], x.shape[1]
        if outputs % LANES == 0:
            return torch.baddbmm(b.unsqueeze(1), x, w.mT)
        if batch % LANES == 0:
            return torch.baddbmm(b.unsqueeze(2), w, x.mT).mT
        padded = w.new_zeros(w.shape[0], outputs + -outputs % LANES, w.shape[2])
        padded[:, :outputs] = w
        return torch.bmm(x, padded.mT)[:, :, :outputs].add_(b.unsqueeze(1))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, w = ctx.saved_tensors
        if torch.is_grad_enabled():
            gradients: tuple[Tensor | None, Tensor, Tensor] = _LinearGradient.apply(
                g, x, w, ctx.needs_input_grad[0]
            )
            return gradients
        grad_x = _into_inputs(g, w, x) if ctx.needs_input_grad[0] else None
        return grad_x, _into_weights(g, x), g.sum(1)


def _into_inputs(g: Tensor, w: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of the inputs x from the gradient of the outputs."""
    # The result has the memory layout of x, as mixed layouts make later passes slow.
    return torch.bmm(g, w) if x.stride(2) == 1 else torch.bmm(w.mT, g.mT).mT


def _into_weights(g: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of the weights from that of the outputs."""
    n, batch, outputs = g.shape
    if n > 1 and x.stride(0) == 0 and g.mT.is_contiguous():
        # All networks have the same inputs: one large product is faster than many small.
        return torch.mm(g.mT.reshape(n * outputs, batch), x[0]).view(n, outputs, -1)
    return bmm(g.mT, x)


def _products(x: Tensor, w: Tensor, like: Tensor, plus: Tensor | None) -> Tensor:
    """Return ``x w^T + plus`` in the memory layout of ``like``; plus may be None."""
    rows = like.stride(2) == 1
    if plus is None and not rows and len(x) > 1 and x.stride(0) == 0:
        return torch.mm(w.reshape(-1, w.shape[2]), x[0].mT).view(*w.shape[:2], -1).mT
    if plus is None:
        return torch.bmm(x, w.mT) if rows else torch.bmm(w, x.mT).mT
    if rows:
        return torch.baddbmm(plus, x, w.mT)
    return torch.baddbmm(plus.mT, w, x.mT).mT


class _LinearGradient(Function):
    """Gradients of `_Linear` as a function of the outputs' gradient, inputs, weights.

    The backward pass consists of products that torch can differentiate further.
    """

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, w: Tensor, inputs: bool
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        ctx.save_for_backward(g, x, w)
        ctx.set_materialize_grads(False)
        grad_x = _into_inputs(g, w, x) if inputs else None
        return grad_x, _into_weights(g, x), g.sum(1)

    @staticmethod
    def backward(
        ctx: Any, u: Tensor | None, v: Tensor | None, b: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """Return the gradients from the cotangents of the three results."""
        g, x, w = ctx.saved_tensors
        grad_g = None
        if v is not None:
            grad_g = _products(x, v, g, None)
        if u is not None:
            grad_g = _products(u, w, g, grad_g)
        if b is not None:
            shift = b.unsqueeze(1)
            grad_g = shift.expand(g.shape) if grad_g is None else grad_g + shift
        grad_x = grad_w = None
        if v is not None and ctx.needs_input_grad[1]:
            grad_x = _into_inputs(g, v, x)
        if u is not None and ctx.needs_input_grad[2]:
            grad_w = _into_weights(g, u)
        return grad_g, grad_x, grad_w, None


def affine(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Apply the affine map of every network.

    Parameters
    ----------
    x : Tensor of shape (n, b, inputs)
        Batches of inputs.
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
