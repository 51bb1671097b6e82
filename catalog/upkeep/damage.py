"""Detection of the damaged tensors of a weight file.

`tensor_stats` holds a blake3 hash of every tensor of every row. The values of one tensor
in a row group are contiguous, so a file is read in large blocks and hashed row by row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from blake3 import blake3

from catalog.storage.inside_folder import check_inside
from catalog.storage.manifest import Manifest

_READ = 4 << 20
"""Bytes to read at a time (at least one row), which fit the processor's cache."""

_COLUMNS = {
    "chunks": ["tensor", "first_row", "rows", "offset", "row_bytes"],
    "tensor_stats": ["tensor", "row", "blake3"],
}
_HASH = 32

_NAMED = 20
"""Number of damaged tensors to name; the rest are counted."""


def wrong_tensors(root: Path, manifest: Manifest, holder: Manifest) -> list[str]:
    """List the tensors of a shard that differ from what was committed, by row and name.

    Parameters
    ----------
    root : Path
        The catalogue's folder.
    manifest : Manifest
        Manifest of a shard with weights.
    holder : Manifest
        Manifest of the shard itself, or of the pack that holds its metadata.

    Returns
    -------
    list of str
        One sentence per damaged tensor; empty if every tensor is intact.

    Raises
    ------
    OSError
        If the weights cannot be read.
    """
    weights = manifest.files["weights"]
    path = root / weights.path
    check_inside(root, path)  # opening a pipe would block for ever
    try:
        chunks = _metadata(root, manifest, holder, "chunks").to_pylist()
        recorded = _recorded(_metadata(root, manifest, holder, "tensor_stats"))
    except (OSError, pa.ArrowException, LookupError, UnicodeError) as error:
        return [f"damaged rows are unknown: the shard's metadata cannot be read ({error})"]
    lowest, highest = (
        (0, 0, 0, 1),
        (weights.rows, weights.rows, weights.bytes, weights.bytes),
    )
    wrong: list[str] = []
    with path.open("rb", buffering=0) as file:
        for chunk in chunks:
            numbers = [chunk[key] for key in ("first_row", "rows", "offset", "row_bytes")]
            if not all(
                isinstance(n, int) and low <= n <= high
                for n, low, high in zip(numbers, lowest, highest, strict=True)
            ):
                name = chunk["tensor"]
                return [f"damaged rows are unknown: chunks/ has {numbers} for {name!r}"]
            first, rows, offset, length = numbers
            expected = recorded.get(chunk["tensor"], b"")
            rows_per_read = max(1, _READ // length)
            for start in range(0, rows, rows_per_read):
                count = min(rows_per_read, rows - start)
                file.seek(offset + start * length)
                hashes = _hashes(file.read(count * length), count, length)
                position = _HASH * (first + start)
                expected_hashes = expected[position : position + _HASH * count]
                if hashes != expected_hashes:
                    wrong += _differing(
                        hashes, expected_hashes, first + start, chunk["tensor"]
                    )
    if len(wrong) > _NAMED:
        return [*wrong[:_NAMED], f"and {len(wrong) - _NAMED:,} more tensors"]
    return wrong


def _metadata(root: Path, manifest: Manifest, holder: Manifest, kind: str) -> pa.Table:
    """Return the rows of a shard in one kind of metadata."""
    path = root / holder.files[kind].path
    check_inside(root, path)
    with pq.ParquetFile(path.absolute()) as file:
        table = file.read(columns=["shard", *_COLUMNS[kind]])
    table.validate(full=True)
    if set(table.column_names) != {"shard", *_COLUMNS[kind]}:
        raise KeyError(f"columns {table.column_names}")
    if holder is not manifest:  # otherwise all rows belong to the shard
        table = table.filter(pc.equal(table["shard"], manifest.shard))
    return table


def _recorded(stats: pa.Table) -> dict[str, bytes]:
    """Return the recorded hashes of each tensor, joined in order of rows."""
    rows = _integers(stats["row"].cast(pa.int64()).combine_chunks(), np.int64)
    tensors = stats["tensor"].combine_chunks().dictionary_encode()
    codes = _integers(tensors.indices, np.int32)
    order = np.lexsort((rows, codes))
    fixed = stats["blake3"].cast(pa.binary(_HASH)).combine_chunks()
    hashes = np.frombuffer(
        fixed.buffers()[1], f"V{_HASH}", len(fixed), fixed.offset * _HASH
    )
    names = tensors.dictionary.to_pylist()
    starts = np.searchsorted(codes[order], np.arange(len(names) + 1))
    return {
        name: hashes[order[starts[i] : starts[i + 1]]].tobytes()
        for i, name in enumerate(names)
    }


def _integers(values: pa.Array, kind: type[np.generic]) -> np.ndarray[Any, np.dtype[Any]]:
    """Return integers as an array; unlike `to_numpy`, without importing pandas."""
    buffer = values.buffers()[1]
    return np.frombuffer(buffer or b"", kind, len(values), values.offset * kind(0).nbytes)


def _hashes(data: bytes, count: int, length: int) -> bytes:
    """Return the hashes of the rows in a block; a truncated row is hashed as it is."""
    view = memoryview(data)
    return b"".join(
        [blake3(view[i : i + length]).digest() for i in range(0, count * length, length)]
    )


def _differing(hashes: bytes, expected: bytes, first: int, tensor: str) -> list[str]:
    return [
        f"row {first + offset // _HASH}, tensor {tensor!r}: not what was committed"
        for offset in range(0, len(hashes), _HASH)
        if hashes[offset : offset + _HASH] != expected[offset : offset + _HASH]
    ]
