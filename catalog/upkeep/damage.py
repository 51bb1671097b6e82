"""Which tensors of a weight file are not what was committed.

Every tensor has a blake3 of its own in `tensor_stats`; the values of one tensor in a row
group are contiguous, so a file is hashed in large reads, row by row.
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
"""Bytes of one read, or one row if that is longer: they stay in the cache."""

_COLUMNS = {
    "chunks": ["tensor", "first_row", "rows", "offset", "row_bytes"],
    "tensor_stats": ["tensor", "row", "blake3"],
}
_HASH = 32

_NAMED = 20
"""Tensors that are named; of the rest, the number."""


def wrong_tensors(root: Path, manifest: Manifest, holder: Manifest) -> list[str]:
    """Say which tensors of a shard are not what was committed, by row and name.

    Parameters
    ----------
    root : Path
        The catalogue's folder.
    manifest : Manifest
        A shard with weights.
    holder : Manifest
        The shard itself, or the pack that holds its metadata.

    Returns
    -------
    list of str
        Empty if every tensor is in place.

    Raises
    ------
    OSError
        If the weights cannot be read.
    """
    weights = manifest.files["weights"]
    path = root / weights.path
    check_inside(root, path)  # a pipe would be waited for without end
    try:
        chunks = _metadata(root, manifest, holder, "chunks").to_pylist()
        recorded = _recorded(_metadata(root, manifest, holder, "tensor_stats"))
    except (OSError, pa.ArrowException, LookupError, UnicodeError) as error:
        return [f"rows cannot be told: the shard's metadata cannot be read ({error})"]
    least, most = (0, 0, 0, 1), (weights.rows, weights.rows, weights.bytes, weights.bytes)
    wrong: list[str] = []
    with path.open("rb", buffering=0) as file:
        for chunk in chunks:
            numbers = [chunk[key] for key in ("first_row", "rows", "offset", "row_bytes")]
            if not all(
                isinstance(n, int) and low <= n <= high
                for n, low, high in zip(numbers, least, most, strict=True)
            ):
                name = chunk["tensor"]
                return [f"rows cannot be told: chunks/ says {numbers} for {name!r}"]
            first, rows, offset, length = numbers
            expected = recorded.get(chunk["tensor"], b"")
            each = max(1, _READ // length)
            for start in range(0, rows, each):
                count = min(each, rows - start)
                file.seek(offset + start * length)
                found = _hashes(file.read(count * length), count, length)
                at = _HASH * (first + start)
                right = expected[at : at + _HASH * count]
                if found != right:
                    wrong += _differing(found, right, first + start, chunk["tensor"])
    if len(wrong) > _NAMED:
        return [*wrong[:_NAMED], f"and {len(wrong) - _NAMED:,} more tensors"]
    return wrong


def _metadata(root: Path, manifest: Manifest, holder: Manifest, kind: str) -> pa.Table:
    """The rows that a shard has in one kind of metadata."""
    path = root / holder.files[kind].path
    check_inside(root, path)
    with pq.ParquetFile(path.absolute()) as file:
        table = file.read(columns=["shard", *_COLUMNS[kind]])
    table.validate(full=True)
    if set(table.column_names) != {"shard", *_COLUMNS[kind]}:
        raise KeyError(f"columns {table.column_names}")
    if holder is not manifest:  # else every row is the shard's own
        table = table.filter(pc.equal(table["shard"], manifest.shard))
    return table


def _recorded(stats: pa.Table) -> dict[str, bytes]:
    """Recorded hashes of each tensor, in order of rows."""
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
    """`to_numpy`, which would import pandas."""
    buffer = values.buffers()[1]
    return np.frombuffer(buffer or b"", kind, len(values), values.offset * kind(0).nbytes)


def _hashes(data: bytes, count: int, length: int) -> bytes:
    """Hashes of the rows of some bytes; a short read gives the hash of what is there."""
    view = memoryview(data)
    return b"".join(
        [blake3(view[i : i + length]).digest() for i in range(0, count * length, length)]
    )


def _differing(found: bytes, right: bytes, first: int, tensor: str) -> list[str]:
    return [
        f"row {first + at // _HASH}, tensor {tensor!r}: not what was committed"
        for at in range(0, len(found), _HASH)
        if found[at : at + _HASH] != right[at : at + _HASH]
    ]
