"""Conversion of stored arrays to torch tensors that share their memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog import Population
from catalog.dtypes import Array

if TYPE_CHECKING:
    from torch import Tensor


def to_torch(population: Population) -> Tensor:
    """Return the weights as one float32 tensor ``(n, d)`` that shares their memory.

    Writing to the tensor changes the population, and vice versa. Read-only weights, such as
    views of an Arrow table, are copied, as torch has no read-only tensors.

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
    """Return a stored array as a tensor of dtype ``kind``; bfloat16 is stored as uint16."""
    import torch

    tensor = torch.from_numpy(values if values.flags.writeable else values.copy())
    return tensor.view(torch.bfloat16) if kind == "bfloat16" else tensor
