"""Embeddings of n networks as columns of features."""

from __future__ import annotations

from torch import Tensor


def embedding(ids: Tensor, table: Tensor) -> Tensor:
    """Look up rows of every network's table.

    Parameters
    ----------
    ids : Tensor of shape (n, m)
        Row numbers, below v.
    table : Tensor of shape (n, v, d)
        Tables with one row per token.

    Returns
    -------
    Tensor of shape (n, d, m)
    """
    rows = ids.unsqueeze(2).expand(*ids.shape, table.shape[2])
    return table.gather(1, rows).mT.contiguous()
