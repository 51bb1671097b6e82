"""Attention of n networks on columns of features."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from zoo.stacked.product import product


@cache
def _future(tokens: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return minus infinity where a key (column) comes after the query (row), else 0."""
    return torch.full((tokens, tokens), -torch.inf, dtype=dtype, device=device).triu(1)


def attention(
    q: Tensor, k: Tensor, v: Tensor, tokens: int, heads: int, *, causal: bool = False
) -> Tensor:
    """Compute scaled dot-product attention within every sample of every network.

    Parameters
    ----------
    q, k, v : Tensor of shape (n, d, b * tokens)
        Queries, keys and values; a head has ``d / heads`` consecutive features.
    tokens : int
        Number of positions of one sample.
    heads : int
        Number of heads; must divide d.
    causal : bool, default=False
        Whether a position attends only to itself and the positions before it.

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
    # Queries are rows, because a softmax over the last axis is the fastest.
    mask = _future(tokens, q.dtype, q.device) if causal else None
    scores = product((q * size**-0.5).mT, k, mask)
    out = product(scores.softmax(2), v.mT).mT
    return out.reshape(n, heads, -1, size, tokens).transpose(2, 3).reshape(n, d, m)
