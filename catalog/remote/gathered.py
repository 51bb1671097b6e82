"""Tensors of checkpoints, some of them from a remote shard and some from shards here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from blake3 import blake3

from catalog.catalog import Catalog
from catalog.dtypes import Array, dtype
from catalog.errors import CatalogError, ShardCorrupt
from catalog.layout import Layout
from catalog.remote.cache_folder import cache_refusals, cache_root
from catalog.remote.pieces import Piece
from catalog.remote.ranges import batches, ranges_to_ask_for
from catalog.remote.remote_catalog import RemoteCatalog
from catalog.remote.remote_reader import RemoteShardReader
from catalog.remote.sparse_file import Span
from catalog.storage.reader import ShardReader
from catalog.storage.shard import stored_params

REFETCHES = 3
"""Times that a tensor whose hash is wrong is downloaded."""

_BLOCK = 16 << 20
"""Bytes to read and hash at a time."""


class _Origin(NamedTuple):
    """Rows of a piece whose tensors come from the same shards."""

    positions: Array
    reader: ShardReader | None
    rows: Array
    missing: frozenset[str]


class Gathered:
    """Checkpoints of a piece, as a `ShardSource` for `Writer.stage`.

    Parameters
    ----------
    piece : Piece
        With a layout.
    source : RemoteCatalog
    here : Catalog, optional
        None if there is no catalogue yet.

    Attributes
    ----------
    layout : Layout
    table : pyarrow.Table
        ``run_id`` and ``step`` of every row.
    """

    def __init__(self, piece: Piece, source: RemoteCatalog, here: Catalog | None) -> None:
        assert piece.layout is not None
        self.layout: Layout = piece.layout
        self.table: pa.Table = piece.keys.select(["run_id", "step"])
        self._piece, self._source, self._here = piece, source, here
        self._remote: RemoteShardReader = source.reader(piece.manifest.shard)
        self._rows = piece.rows
        self._origins = [
            _Origin(
                positions,
                here.reader(shard) if shard and here else None,
                piece.keys["row_here"].take(pa.array(positions)).to_numpy(),
                frozenset(piece.missing[shard]),
            )
            for shard, positions in piece.here()
        ]

    def __len__(self) -> int:
        return len(self.table)

    def stored(self, name: str, rows: slice = slice(None)) -> Array:
        """Return one tensor of some rows in its storage dtype."""
        wanted = np.arange(len(self))[rows]
        param = self.layout[name]
        values = np.empty((len(wanted), *param.shape), dtype(param.dtype).storage)
        for origin in self._origins:
            inside = np.isin(origin.positions, wanted, assume_unique=True)
            positions = origin.positions[inside]
            if not len(positions):
                continue
            remote = name in origin.missing or origin.reader is None
            reader = self._remote if remote else origin.reader
            assert reader is not None
            at = self._rows[positions] if remote else origin.rows[inside]
            part = (
                values
                if len(positions) == len(wanted)
                else np.empty((len(positions), *param.shape), values.dtype)
            )
            reader.read(name, at, part)
            if part is not values:
                values[positions - wanted[0]] = part
        return values

    def requests(self) -> list[Span]:
        """Return the ranges of the remote file to ask for."""
        spans = [
            span
            for origin in self._origins
            for name in origin.missing
            for span in self._remote.spans(name, self._rows[origin.positions])
        ]
        return ranges_to_ask_for(spans, self._piece.manifest.files["weights"].bytes)

    def missing_bytes(self) -> int:
        """Return the bytes that `download` would move."""
        return self._remote.file.missing(self.requests())

    def download(
        self, threads: int, moved: Callable[[int], None], stop: threading.Event
    ) -> None:
        """Download what is missing, and compare every tensor with its hash.

        Parameters
        ----------
        threads : int
            Requests at once.
        moved : callable
            Called with numbers of bytes that have arrived.
        stop : threading.Event
            End with an error as soon as it is set.

        Raises
        ------
        ShardCorrupt
            If a tensor is not the one that was committed, or its hash is not known.
        CatalogError
            If the store does not answer. What has arrived stays in the cache.
        """
        for batch in batches(self.requests()):
            if stop.is_set():
                raise CatalogError("The download was stopped.")
            with cache_refusals(cache_root()):
                moved(self._remote.file.need(batch, joined=0, threads=threads))
        theirs = _hashes(self._source, self._piece.manifest.shard)
        for origin in self._origins:
            mine: Mapping[tuple[int, str], bytes] = {}
            if origin.reader is not None and self._here is not None:
                mine = _hashes(self._here, origin.reader.path.stem)
            for param in stored_params(self.layout):
                if param.name in origin.missing:
                    self._check(param.name, self._rows[origin.positions], theirs, moved)
                elif origin.reader is not None:
                    wrong = _wrong(origin.reader, param.name, origin.rows, mine)
                    if len(wrong):
                        raise ShardCorrupt(
                            f"{origin.reader.path}: row {wrong[0]}, tensor {param.name!r} "
                            "is not what was committed (its blake3 hash differs). Run "
                            "'phasezoo verify --repair'."
                        )

    def _check(
        self,
        name: str,
        rows: Array,
        hashes: Mapping[tuple[int, str], bytes],
        moved: Callable[[int], None],
    ) -> None:
        """Compare a tensor with its hashes, and download it again where it is wrong."""
        for attempt in range(REFETCHES):
            wrong = _wrong(self._remote, name, rows, hashes)
            if not len(wrong):
                return
            if attempt < REFETCHES - 1:
                spans = self._remote.spans(name, wrong)
                with cache_refusals(cache_root()):
                    self._remote.file.forget(spans)
                    moved(-sum(stop - start for start, stop in spans))
                    moved(self._remote.file.need(spans, joined=0))
        raise ShardCorrupt(
            f"{self._source.store.address}/{self._piece.manifest.files['weights'].path}: "
            f"row {wrong[0]}, tensor {name!r} is not what was committed (its blake3 hash "
            f"differs, in each of {REFETCHES} downloads). Nothing was fetched. Ask whoever "
            "published it to publish it again."
        )


def _wrong(
    reader: ShardReader, name: str, rows: Array, hashes: Mapping[tuple[int, str], bytes]
) -> Array:
    """Return the rows of a shard in which a tensor has another hash than expected."""
    param = reader.layout[name]
    step = max(_BLOCK // max(param.nbytes, 1), 1)
    wrong: list[int] = []
    for first in range(0, len(rows), step):
        block = rows[first : first + step]
        values = np.empty((len(block), *param.shape), dtype(param.dtype).storage)
        reader.read(name, block, values)
        for row, value in zip(block.tolist(), values, strict=True):
            expected = hashes.get((row, name))
            if expected is None:
                raise ShardCorrupt(
                    f"The metadata of {reader.path.stem} has no hash of row {row}, tensor "
                    f"{name!r}, so it cannot be verified. Nothing was fetched. Ask whoever "
                    "published it to run 'phasezoo verify', or fetch the whole catalogue."
                )
            if blake3(value.tobytes()).digest() != expected:
                wrong.append(row)
    return np.array(wrong, np.int64)


def _hashes(zoo: Catalog, shard: str) -> dict[tuple[int, str], bytes]:
    """Return the recorded hash of every tensor of a shard, by row and name."""
    table = zoo.about(
        pa.table({"shard": [shard]}),
        'SELECT "row", tensor, blake3 FROM tensor_stats SEMI JOIN asked USING (shard)',
    )
    columns: Sequence[list[object]] = [
        table[name].to_pylist() for name in table.column_names
    ]
    return {
        (row, tensor): bytes(digest)
        for row, tensor, digest in zip(*columns, strict=True)
        if isinstance(row, int) and isinstance(tensor, str) and isinstance(digest, bytes)
    }
