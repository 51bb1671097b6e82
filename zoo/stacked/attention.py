"""Attention of n networks on features that lie first."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from zoo.stacked.product import product


@cache
def _future(tokens: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Minus infinity where a key (column) comes after the query (row), else 0."""
    return torch.full((tokens, tokens), -torch.inf, dtype=dtype, device=device).triu(1)


def attention(
    q: Tensor, k: Tensor, v: Tensor, tokens: int, heads: int, *, causal: bool = False
) -> Tensor:
    """Scaled dot-product attention within every sample of every network.

    Parameters
    ----------
    q, k, v : Tensor of shape (n, d, b * tokens)
        Queries, keys and values; a head has ``d / heads`` consecutive features.
    tokens : int
        Positions of one sample.
    heads : int
        Divides d.
    causal : bool, default=False
        Whether a position sees itself and those before it only.

    Returns
    -------
    Tensor of shape (n, d, b * tokens)
    """
    n, d, m = q.shape
    size = d // heads
    split = (n, heads, size, m // tokens, tokens)
    q, k, v = (
        t.reshape(split).transpose(2, 3).reshape(-1, size, tokens) for t in (q, k, v)
    )
    # Queries are rows: a softmax over the last axis is the fastest.
    mask = _future(tokens, q.dtype, q.device) if causal else None
    scores = product((q * size**-0.5).mT, k, mask)
    out = product(scores.softmax(2), v.mT).mT
    return out.reshape(n, heads, -1, size, tokens).transpose(2, 3).reshape(n, d, m)
