"""Batches of weight matrices, multiplied by probes in the cheapest order.

Every product has one row per probe, so that the next operation reads it in memory order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class Matrices(Protocol):
    """Batch of matrices X (dH, dW) of b networks."""

    def right(self, U: Tensor) -> Tensor:
        """Return (X U)ᵀ of shape (b, r, dH), for probes U (dW, r)."""
        ...

    def left(self, V: Tensor) -> Tensor:
        """Return Vᵀ X of shape (b, r, dW), for probes V (dH, r)."""
        ...

    def outer(self, W: Tensor) -> Tensor:
        """Return (X Xᵀ W)ᵀ of shape (b, r, dH), for probes W (dH, r)."""
        ...

    def inner(self, Z: Tensor) -> Tensor:
        """Return (Xᵀ X Z)ᵀ of shape (b, r, dW), for probes Z (dW, r)."""
        ...


@dataclass(frozen=True)
class DenseMatrices:
    """Batch of dense matrices.

    Attributes
    ----------
    X : Tensor of shape (b, dH, dW)
        Matrices of b networks.
    XXt, XtX : Tensor of shapes (b, dH, dH) and (b, dW, dW), optional
        Precomputed Gram matrices: one product instead of two, without gradient through X.
    """

    X: Tensor
    XXt: Tensor | None = None
    XtX: Tensor | None = None

    def right(self, U: Tensor) -> Tensor:  # noqa: D102
        return probed(U, self.X.mT)

    def left(self, V: Tensor) -> Tensor:  # noqa: D102
        return probed(V, self.X)

    def outer(self, W: Tensor) -> Tensor:  # noqa: D102
        return self.left(W) @ self.X.mT if self.XXt is None else probed(W, self.XXt)

    def inner(self, Z: Tensor) -> Tensor:  # noqa: D102
        return self.right(Z) @ self.X if self.XtX is None else probed(Z, self.XtX)


@dataclass(frozen=True)
class LowRankMatrices:
    """Batch of matrices B A - s R, whose products B A are never formed.

    Attributes
    ----------
    B, A : Tensor of shapes (b, dH, r0) and (b, r0, dW)
        Factors of the updates of b networks.
    s : Tensor of shape (b, 1, 1), default=1
        Factor of the common matrix.
    R : Tensor of shape (dH, dW), optional
        Common matrix of all networks.
    RAt, BtR : Tensor of shapes (b, dH, r0) and (b, r0, dW), optional
        Products R Aᵀ and Bᵀ R, which do not change during training.
    """

    B: Tensor
    A: Tensor
    s: Tensor | float = 1.0
    R: Tensor | None = None
    RAt: Tensor | None = None
    BtR: Tensor | None = None

    def right(self, U: Tensor) -> Tensor:  # noqa: D102
        product = (self.A @ U).mT @ self.B.mT
        return product if self.R is None else product - self.s * (self.R @ U).mT

    def left(self, V: Tensor) -> Tensor:  # noqa: D102
        product = (V.mT @ self.B) @ self.A
        return product if self.R is None else product - self.s * (V.mT @ self.R)

    def outer(self, W: Tensor) -> Tensor:  # noqa: D102
        H = W.mT @ self.B
        through = H @ (self.A @ self.A.mT)
        if self.R is None:
            return through @ self.B.mT
        RAt = self.R @ self.A.mT if self.RAt is None else self.RAt
        through = through - self.s * (W.mT @ RAt)
        common = ((W.mT @ self.R) @ self.R.mT) * self.s
        return through @ self.B.mT - self.s * (H @ RAt.mT - common)

    def inner(self, Z: Tensor) -> Tensor:  # noqa: D102
        K = (self.A @ Z).mT
        through = K @ (self.B.mT @ self.B)
        if self.R is None:
            return through @ self.A
        BtR = self.B.mT @ self.R if self.BtR is None else self.BtR
        through = through - self.s * (BtR @ Z).mT
        common = ((self.R @ Z).mT @ self.R) * self.s
        return through @ self.A - self.s * (K @ BtR - common)


class _Probed(torch.autograd.Function):
    """Product Vᵀ X of one V and many X, whose gradient is one summed product."""

    @staticmethod
    def forward(ctx: Any, V: Tensor, X: Tensor) -> Tensor:
        ctx.save_for_backward(X)
        ctx.dtype = V.dtype
        # matmul would fold X into one matrix, and copy a transposed X.
        rows = V.to(X.dtype).mT.contiguous().expand(len(X), -1, -1)
        return torch.bmm(rows, X)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        (X,) = ctx.saved_tensors
        (G,) = gradients
        start = G.new_zeros(X.shape[1], G.shape[1])
        return torch.addbmm(start, X, G.to(X.dtype).mT).to(ctx.dtype), None


def probed(V: Tensor, X: Tensor) -> Tensor:
    """Return Vᵀ X (b, r, m) for probes V (k, r) and X (b, k, m) without gradient."""
    product: Tensor = _Probed.apply(V, X)
    return product
