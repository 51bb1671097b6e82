"""Layers of many networks in memory, centred and scaled once, with batches of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from catalog.dtypes import Array
from probes.exact.centring import Centring
from probes.layers import LowRank
from probes.learning.bases import Bases
from probes.learning.matrices import DenseMatrices, LowRankMatrices, Matrices

GRAM_BYTES = 2 << 30
"""Maximum size in bytes of the Gram matrices that are kept with a layer."""
_BLOCK = 64
"""Number of networks that are centred at once."""


@dataclass(frozen=True)
class Resident:
    """Layer of n networks in memory.

    Attributes
    ----------
    tensors : dict of str to Tensor of shape (n, ...)
        Fields of the batches, one row per network.
    common : dict of str to Tensor
        Fields that all networks share.
    """

    tensors: dict[str, Tensor]
    common: dict[str, Tensor]

    @classmethod
    def of(
        cls, X: Array, seen: Centring | Bases, dtype: torch.dtype, *, second_order: bool
    ) -> Resident:
        """Centre and scale a layer of weights X (n, d), or compute its cores.

        Parameters
        ----------
        second_order : bool
            Keep X Xᵀ and Xᵀ X too, if they take at most `GRAM_BYTES`.

        Notes
        -----
        Memory is one copy of the layer in ``dtype``, or of the factors of low-rank updates.
        """
        if isinstance(seen, Bases):
            return cls._dense(X, seen.shape, seen.cores, dtype, second_order)
        if isinstance(seen.layer, LowRank):
            return cls._low_rank(X, seen, dtype, second_order)
        return cls._dense(X, seen.layer.shape, seen.apply, dtype, second_order)

    @classmethod
    def _dense(
        cls,
        X: Array,
        shape: tuple[int, int],
        matrices: Callable[[Array], Array],
        dtype: torch.dtype,
        second_order: bool,
    ) -> Resident:
        n, (dH, dW) = len(X), shape
        tensors = {"X": torch.empty(n, dH, dW, dtype=dtype)}
        if second_order and n * (dH**2 + dW**2) * dtype.itemsize <= GRAM_BYTES:
            tensors["XXt"] = torch.empty(n, dH, dH, dtype=dtype)
            tensors["XtX"] = torch.empty(n, dW, dW, dtype=dtype)
        wide = torch.promote_types(dtype, torch.float32)
        for start in range(0, n, _BLOCK):
            rows = slice(start, start + _BLOCK)
            block = torch.from_numpy(matrices(X[rows])).to(wide)
            tensors["X"][rows] = block
            if len(tensors) > 1:
                tensors["XXt"][rows] = block @ block.mT
                tensors["XtX"][rows] = block.mT @ block
        return cls(tensors, {})

    @classmethod
    def _low_rank(
        cls, X: Array, centring: Centring, dtype: torch.dtype, second_order: bool
    ) -> Resident:
        layer, root = centring.layer, centring.root
        assert isinstance(layer, LowRank)
        s = 1 / centring.divisors(X)
        B = _tensor(layer.up.of(X) * s[:, None, None])
        A = _tensor(np.array(layer.down.of(X)))
        tensors, common = {"B": B, "A": A}, {}
        if root is not None:
            R = common["R"] = _tensor(np.array(root))
            tensors["s"] = _tensor(s[:, None, None])
            if second_order:
                tensors["RAt"], tensors["BtR"] = R @ A.mT, B.mT @ R
        return cls(*({k: v.to(dtype) for k, v in t.items()} for t in (tensors, common)))

    def take(self, rows: Tensor, buffers: dict[str, Tensor] | None = None) -> Matrices:
        """Copy the matrices of some rows to buffers that the next batch overwrites."""
        buffers = {} if buffers is None else buffers
        fields = {}
        for name, values in self.tensors.items():
            buffer = buffers.get(name)
            if buffer is None:
                buffer = buffers[name] = values.new_empty(0)
            if len(buffer) < len(rows):
                buffer = buffers[name] = values.new_empty(len(rows), *values.shape[1:])
            fields[name] = torch.index_select(values, 0, rows, out=buffer[: len(rows)])
        matrices_class: Any = DenseMatrices if "X" in fields else LowRankMatrices
        matrices: Matrices = matrices_class(**fields, **self.common)
        return matrices


class ResidentBatches:
    """Batches of several layers, in memory that is reused.

    Parameters
    ----------
    layers : sequence of Resident
        Layers in memory.
    """

    def __init__(self, layers: Sequence[Resident]) -> None:
        self.layers = layers
        self._buffers: list[dict[str, Tensor]] = [{} for _ in layers]

    def __getitem__(self, rows: Tensor) -> list[Matrices]:
        """Return the matrices of every layer; valid until the next call."""
        pairs = zip(self.layers, self._buffers, strict=True)
        return [layer.take(rows, buffers) for layer, buffers in pairs]


def _tensor(values: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float64))
