"""Weight shards: networks of one layout as one Parquet file with known byte offsets.

A shard has one row per checkpoint and one REQUIRED column per tensor. It is uncompressed
and PLAIN, with one page per column chunk. The values of (row group, tensor) are then the
last bytes of the chunk, contiguous, and can be read without a Parquet library. DuckDB,
pyarrow and `datasets` read the same file with its types. FORMAT.md is the contract.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from catalog.dtypes import Array, dtype
from catalog.errors import ShardCorrupt
from catalog.layout import Layout, Param
from catalog.names import RESERVED, canonical_json, escape

ROW_GROUP_BYTES = 128 << 20
ROW_GROUP_ROWS = 1000
RUN_ID, STEP = RESERVED + "run_id", RESERVED + "step"


class ShardSource(Protocol):
    """Source of the rows of a shard: a `Population`, or tensors stored elsewhere."""

    @property
    def layout(self) -> Layout:
        """Layout of the tensors of every row."""
        ...

    @property
    def table(self) -> pa.Table:
        """Table with at least ``run_id`` and ``step`` of every row."""
        ...

    def __len__(self) -> int: ...

    def stored(self, name: str, rows: slice = ...) -> Array:
        """Return one tensor ``(rows, *shape)`` in its storage dtype."""
        ...


@dataclass(frozen=True)
class Chunk:
    """Position in the file of the values of one tensor in one row group.

    Attributes
    ----------
    tensor : str
        Name of the tensor.
    first_row, rows : int
        First row of the shard in the row group, and number of rows.
    offset : int
        Byte offset in the file of the first value of ``first_row``.
    row_bytes : int
        Bytes per row. Row r starts at ``offset + (r - first_row) * row_bytes``.
    """

    tensor: str
    first_row: int
    rows: int
    offset: int
    row_bytes: int


def row_group_rows(layout: Layout) -> int:
    """Return the rows per row group: at most 1000, at most 128 MiB, at least one row."""
    return int(np.clip(ROW_GROUP_BYTES // max(layout.nbytes, 1), 1, ROW_GROUP_ROWS))


def stored_params(layout: Layout) -> list[Param]:
    """Return the tensors that have a column; tensors of size 0 are in the layout alone."""
    return [param for param in layout if param.size]


def shard_schema(layout: Layout, architecture: str) -> pa.Schema:
    """Return the Arrow schema of a shard, with the layout in its metadata."""
    fields = [
        pa.field(RUN_ID, pa.string(), nullable=False),
        pa.field(STEP, pa.int64(), nullable=False),
    ]
    fields += [
        pa.field(escape(p.name), dtype(p.dtype).arrow_type(p.size), nullable=False)
        for p in stored_params(layout)
    ]
    metadata = {
        "phasezoo.layout": canonical_json(layout.to_json()),
        "phasezoo.architecture": architecture,
    }
    return pa.schema(fields, metadata=metadata)


def write_shard(path: Path, population: ShardSource, architecture: str) -> list[Chunk]:
    """Write and sync a shard, and check that its offsets lead to its values.

    Peak memory beyond the population is at most five times one row group, however large
    the shard: under 700 MB, or five times one network of more than 128 MiB.

    Parameters
    ----------
    path : Path
        Temporary path, which the caller renames.
    population : ShardSource
        Rows to write.
    architecture : str
        JSON text from which `zoo.modules.build` makes the network; empty if unknown.

    Returns
    -------
    list of Chunk
        Offsets of every tensor, row group by row group.

    Raises
    ------
    ShardCorrupt
        If the values read back through the offsets are not the values written.
    """
    layout = population.layout
    schema = shard_schema(layout, architecture)
    group = row_group_rows(layout)
    digests: list[bytes] = []
    with pq.ParquetWriter(
        path.absolute(),  # pyarrow would take a relative x:y for a remote address
        schema,
        compression="none",
        use_dictionary=False,
        write_statistics=[RUN_ID, STEP],
        data_page_size=1 << 30,
        max_rows_per_page=1 << 30,
        data_page_version="1.0",
        write_page_checksum=True,
        write_batch_size=64,
    ) as writer:
        for first in range(0, len(population), group):
            rows = slice(first, first + group)
            digests += _write_group(writer, population, rows)
    chunks = find_chunks(path, layout)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        for chunk, digest in zip(chunks, digests, strict=True):
            if _digest(file, chunk) != digest:
                raise ShardCorrupt(
                    f"{path}: tensor {chunk.tensor!r}, rows from {chunk.first_row}: "
                    f"offset {chunk.offset} does not lead to the values written. "
                    "Nothing was committed; report this with your pyarrow version "
                    f"({pa.__version__})."
                )
    return chunks


def _write_group(
    writer: pq.ParquetWriter, population: ShardSource, rows: slice
) -> list[bytes]:
    """Write one row group, and return a hash of the values of each tensor."""
    digests = []
    columns = [
        population.table["run_id"][rows].cast(pa.string()).combine_chunks(),
        population.table["step"][rows].cast(pa.int64()).combine_chunks(),
    ]
    for param in stored_params(population.layout):
        values = np.ascontiguousarray(population.stored(param.name, rows))
        digests.append(blake3(values.reshape(-1).view(np.uint8).data).digest())
        columns.append(arrow_column(values, param))
    table = pa.Table.from_arrays(columns, schema=writer.schema)
    writer.write_table(table, row_group_size=len(table))
    return digests


def _digest(file: BinaryIO, chunk: Chunk) -> bytes:
    """Return the hash of the bytes at the offset of a chunk."""
    digest = blake3()
    remaining = chunk.rows * chunk.row_bytes
    file.seek(chunk.offset)
    while remaining and (piece := file.read(min(remaining, 1 << 20))):
        digest.update(piece)
        remaining -= len(piece)
    return digest.digest()


def find_chunks(path: Path, layout: Layout) -> list[Chunk]:
    """Read the offsets of every tensor from the footer, row group by row group.

    Raises
    ------
    ShardCorrupt
        If the file is not a shard of this layout, or was rewritten so that values
        are not contiguous.
    """
    return list(_walk_footer(path, layout))


def _walk_footer(path: Path, layout: Layout) -> Iterator[Chunk]:
    footer = read_footer(path)
    first = 0
    for g in range(footer.num_row_groups):
        group = footer.row_group(g)
        # By position: a list column x and a binary x.list.element have the same path.
        for c, param in enumerate(stored_params(layout), start=2):
            column = group.column(c) if c < group.num_columns else None
            inner = ".list.element" if dtype(param.dtype).typed else ""
            if column is None or column.path_in_schema != escape(param.name) + inner:
                raise ShardCorrupt(
                    f"{path} has no column for tensor {param.name!r}; it is not a "
                    f"shard of layout {layout.id}."
                )
            payload = group.num_rows * param.nbytes
            encodings = {"PLAIN", "RLE"}
            if (
                column.compression != "UNCOMPRESSED"
                or not set(column.encodings) <= encodings
                or not 0 <= column.total_compressed_size - payload <= 64 + payload // 8
            ):
                raise ShardCorrupt(
                    f"{path}: column {escape(param.name)!r} is not one uncompressed "
                    "PLAIN page. The file was rewritten, so it has no offsets."
                )
            offset = column.data_page_offset + column.total_compressed_size - payload
            yield Chunk(param.name, first, group.num_rows, offset, param.nbytes)
        first += group.num_rows


def footer_digest(path: Path) -> tuple[str, int]:
    """Return digest and length of a Parquet footer with its length field and magic."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 8, 0))
        length = int.from_bytes(file.read(4), "little") + 8
        file.seek(max(size - length, 0))
        return hashlib.file_digest(file, "sha256").hexdigest(), length


def read_footer(path: Path) -> Any:
    """Read the Parquet metadata of a file.

    Raises
    ------
    ShardCorrupt
        If the file is missing or its footer cannot be read.
    """
    try:
        return pq.read_metadata(path.absolute())
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise ShardCorrupt(
            f"{path} is not a readable Parquet file ({error}). It is truncated or "
            "damaged: run 'phasezoo verify', then fetch or train it again."
        ) from error


def arrow_column(values: Array, param: Param) -> pa.Array:
    """Return the column of a tensor of n networks ``(n, *shape)``, sharing its memory."""
    kind = dtype(param.dtype)
    arrow_type = kind.arrow_type(param.size)
    if not kind.typed:
        buffers = [None, pa.py_buffer(values)]
        return pa.FixedSizeBinaryArray.from_buffers(arrow_type, len(values), buffers)
    flat = pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=arrow_type)
