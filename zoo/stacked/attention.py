"""Attention of n networks on features that lie first."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


@cache
def _future(tokens: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Minus infinity where a key (row) comes after the query (column), else 0."""
    return torch.full((tokens, tokens), -torch.inf, dtype=dtype, device=device).tril(-1)


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
    q = q * size**-0.5
    # Keys are rows and queries columns: the softmax runs over long rows.
    if causal:
        mask = _future(tokens, q.dtype, q.device)
        scores = torch.baddbmm(mask, k.mT, q)
    else:
        scores = torch.bmm(k.mT, q)
    out = torch.bmm(v, scores.softmax(1))
    return out.view(n, heads, -1, size, tokens).transpose(2, 3).reshape(n, d, m)
