"""Embeddings of n networks, with features first."""

from __future__ import annotations

from torch import Tensor


def embedding(ids: Tensor, table: Tensor) -> Tensor:
    """Rows of every network's own table.

    Parameters
    ----------
    ids : Tensor of shape (n, m)
        Below v.
    table : Tensor of shape (n, v, d)
        One row per token.

    Returns
    -------
    Tensor of shape (n, d, m)
    """
    rows = ids.unsqueeze(2).expand(*ids.shape, table.shape[2])
    return table.gather(1, rows).mT.contiguous()
