"""Metadata tables of a shard's tensors: names and shapes, and offsets."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from catalog import schema
from catalog.layout import Layout
from catalog.names import escape
from catalog.storage.shard import Chunk


def tensors_table(layout: Layout, arch_id: str) -> pa.Table:
    """Return the rows of `tensors`: one per tensor of an architecture."""
    rows = [
        {
            "arch_id": arch_id,
            "position": position,
            "tensor": param.name,
            "column_name": escape(param.name) if param.size else None,
            "shape": list(param.shape),
            "axes": list(param.axes),
            "dtype": param.dtype,
            "role": param.role,
            "size": param.size,
        }
        for position, param in enumerate(layout)
    ]
    return pa.Table.from_pylist(rows, schema=schema.empty("tensors").schema)


def chunks_table(chunks: Sequence[Chunk], shard: str) -> pa.Table:
    """Return the rows of `chunks`: one per tensor and row group of a shard."""
    rows = [{"shard": shard, **vars(chunk)} for chunk in chunks]
    return pa.Table.from_pylist(rows, schema=schema.empty("chunks").schema)
