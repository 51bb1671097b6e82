"""Imported networks with every tensor in its stored dtype.

Unlike in a `Population`, values are not converted to float32, so float64 values reach a
shard bit for bit. Tensors are stacked only when rows are requested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array
from catalog.layout import Layout


@dataclass(frozen=True)
class StoredNetworks:
    """n networks of one layout, with one mapping of tensors per network.

    Attributes
    ----------
    layout : Layout
        Layout of all networks.
    table : pyarrow.Table
        n rows with ``run_id`` and ``step``.
    networks : sequence of mapping of str to ndarray of shape (*shape)
        Tensors of each network in the storage dtypes of the layout.
    """

    layout: Layout
    table: pa.Table = field(repr=False)
    networks: Sequence[Mapping[str, Array]]

    def __len__(self) -> int:
        return len(self.networks)

    def stored(self, name: str, rows: slice = slice(None)) -> Array:
        """Return one tensor of some networks, of shape ``(rows, *shape)``."""
        return np.stack([network[name] for network in self.networks[rows]])
