"""Networks as they were stored elsewhere: every tensor in its own dtype.

Unlike a `Population` nothing is held as float32, so float64 that has no float32 equal
reaches a shard bit for bit. Tensors are stacked when a piece is asked for.
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
    """n networks of one layout, one mapping of tensors each.

    Attributes
    ----------
    layout : Layout
        Of all of them.
    table : pyarrow.Table
        n rows: ``run_id`` and ``step``.
    networks : sequence of mapping of str to ndarray of shape (*shape)
        In the storage dtypes of the layout.
    """

    layout: Layout
    table: pa.Table = field(repr=False)
    networks: Sequence[Mapping[str, Array]]

    def __len__(self) -> int:
        return len(self.networks)

    def stored(self, name: str, rows: slice = slice(None)) -> Array:
        """One tensor of some networks, shape ``(rows, *shape)``."""
        return np.stack([network[name] for network in self.networks[rows]])
