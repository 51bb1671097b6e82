"""Stored arrays as torch tensors that share their memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog import Population
from catalog.dtypes import Array

if TYPE_CHECKING:
    from torch import Tensor


def to_torch(population: Population) -> Tensor:
    """The weights as one tensor ``(n, d)`` of float32, sharing their memory.

    What is written to one is seen in the other. Weights that are read-only (a view of
    an Arrow table, say) are copied, as torch has no read-only tensors.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa
    >>> from catalog import Layout, Param
    >>> table = pa.table({"run_id": ["a"], "step": [0]})
    >>> p = Population(np.ones((1, 2), np.float32), Layout((Param("w", (2,)),)), table)
    >>> to_torch(p).mul_(3).shape, p.weights
    (torch.Size([1, 2]), array([[3., 3.]], dtype=float32))
    """
    return as_torch(population.weights, "float32")


def as_torch(values: Array, kind: str) -> Tensor:
    """An array of a storage dtype as a tensor of its own dtype (uint16: bfloat16)."""
    import torch

    tensor = torch.from_numpy(values if values.flags.writeable else values.copy())
    return tensor.view(torch.bfloat16) if kind == "bfloat16" else tensor
