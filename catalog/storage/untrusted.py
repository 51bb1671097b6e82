"""Reading of weight files that another tool has rewritten, through pyarrow.

Recorded offsets do not hold in these files, so names, types and counts are checked
instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.dtypes import Array, dtype
from catalog.errors import LayoutMismatch, ShardCorrupt
from catalog.layout import Layout, Param
from catalog.names import canonical_json, escape
from catalog.storage.manifest import File
from catalog.storage.shard import RUN_ID, STEP, read_footer


def check_rewritten(path: Path, file: File, layout: Layout) -> None:
    """Check that a file with another footer still holds the committed table.

    Parameters
    ----------
    path : Path
        The weight file.
    file : File
        Record of the file in the manifest.
    layout : Layout
        Tensors of the shard.

    Raises
    ------
    ShardCorrupt
        If the file has another number of rows, lacks a column, or states another layout.
    """
    footer, size = read_footer(path), path.stat().st_size
    metadata = footer.metadata or {}
    stated = metadata.get(b"phasezoo.layout")
    names = set(footer.schema.to_arrow_schema().names)
    missing = {
        RUN_ID,
        STEP,
        *(escape(p.name) for p in layout if p.size),
    } - names
    expected = canonical_json(layout.to_json()).encode()
    if footer.num_rows != file.rows or missing or stated not in (None, expected):
        raise ShardCorrupt(
            f"{path} is not the shard that was committed: {size:,} bytes and "
            f"{footer.num_rows} rows, expected {file.bytes:,} and {file.rows}. Run "
            "'phasezoo verify', then fetch or train it again."
        )


def read_tensor(path: Path, param: Param, rows: int) -> Array:
    """Read all rows of one tensor, ``(rows, *shape)`` in its storage dtype.

    Raises
    ------
    ShardCorrupt
        If the column is damaged, of another type, or has another number of rows.
    LayoutMismatch
        If the tensor has another number of values per row.
    """
    column = read_columns(path, [escape(param.name)]).column(0).combine_chunks()
    storage = dtype(param.dtype).storage
    if len(column) != rows:  # the row count in the footer may differ
        raise ShardCorrupt(
            f"{path}: tensor {param.name!r} has {len(column)} rows, expected {rows}. Run "
            "'phasezoo verify', then fetch or train the shard again."
        )
    try:
        flat = _flat(column, storage)
    except (ValueError, TypeError, AttributeError, pa.ArrowException) as error:
        raise ShardCorrupt(
            f"{path}: tensor {param.name!r} is stored as {column.type}, expected "
            f"{dtype(param.dtype).arrow_type(param.size)} ({error}). Run 'phasezoo "
            "verify', then fetch or train the shard again."
        ) from error
    if flat.size != len(column) * param.size:
        raise LayoutMismatch(
            f"{path}: tensor {param.name!r} has {flat.size} values in "
            f"{len(column)} rows, expected {param.size} per row."
        )
    return flat.reshape(len(column), *param.shape)


def read_columns(path: Path, columns: list[str]) -> pa.Table:
    """Read columns of a weight file, and check the checksums of its pages.

    Raises
    ------
    ShardCorrupt
        If the columns cannot be read.
    """
    try:
        # `read_table` allocates nulls for all other columns, as wide as the footer says.
        with pq.ParquetFile(path.absolute(), page_checksum_verification=True) as file:
            return file.read(columns=columns).select(columns)
    except (OSError, pa.ArrowException, KeyError, UnicodeError) as error:
        raise ShardCorrupt(
            f"{path}: {', '.join(columns)} cannot be read ({error}). Run "
            "'phasezoo verify', then fetch or train the shard again."
        ) from error


def _flat(column: pa.Array, storage: np.dtype[Any]) -> Array:
    """Return the values of a column row after row; raise `ValueError` for nulls."""
    if column.null_count:
        raise ValueError(f"{column.null_count} rows are null")
    if pa.types.is_fixed_size_binary(column.type) or pa.types.is_binary(column.type):
        return np.frombuffer(b"".join(column.to_pylist()), storage)
    values = column.flatten()
    if values.null_count or not (
        pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    ):
        raise ValueError("its values are not numbers, or some are null")
    flat: Array = values.to_numpy(zero_copy_only=False).astype(storage)
    return flat
