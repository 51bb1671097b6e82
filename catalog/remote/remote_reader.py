"""Reading tensors of a shard that is elsewhere, by the ranges that are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catalog.dtypes import Array
from catalog.errors import ShardCorrupt
from catalog.layout import Layout
from catalog.remote.open_copy import OpenCopy
from catalog.remote.sparse_file import Span, SparseFile
from catalog.storage.manifest import Manifest
from catalog.storage.reader import ShardReader
from catalog.storage.shard import Chunk


class RemoteShardReader(ShardReader):
    """A `ShardReader` of a sparse file, which downloads a range before it is read.

    Offsets are those of the commit records: no footer is read. `Selection.verified` and
    ``load(verify=True)`` compare what arrived with the hash of each tensor. The local copy
    is opened for a read, as it may be deleted between two of them.

    Attributes
    ----------
    file : SparseFile
        Parts of the file that are here.
    """

    def __init__(
        self,
        file: SparseFile,
        manifest: Manifest,
        layout: Layout,
        chunks: Mapping[str, list[Chunk]],
    ) -> None:
        self.file = file
        self.path, self.layout = file.path, layout
        self._manifest, self._chunks = manifest, chunks
        self.trusted = True  # the commit record vouches for the offsets
        self._check_chunks(manifest.files["weights"].bytes)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteShardReader, (self.file, self._manifest, self.layout, self._chunks)

    def reopened(self) -> RemoteShardReader:
        """Return a reader of the same shard with a file and connections of its own."""
        file = self.file.reopened()
        return RemoteShardReader(file, self._manifest, self.layout, self._chunks)

    def check_keys(self, checkpoints: Sequence[tuple[int, str, int]]) -> None:
        """Check that rows exist; their keys are those of the committed metadata."""
        for row, _, _ in checkpoints:
            self._check_rows(row, row)

    def read(self, tensor: str, rows: Array, out: Array) -> None:
        """Fill ``out`` with one tensor of the given rows; see `ShardReader.read`."""
        self._local(self.spans(tensor, rows)).read(tensor, rows, out)

    def pieces(self, tensor: str, rows: Array) -> Iterator[tuple[slice | Array, Array]]:
        """Yield stored values of one tensor; see `ShardReader.pieces`."""
        yield from self._local(self.spans(tensor, rows)).pieces(tensor, rows)

    def read_row(self, row: int) -> dict[str, Array]:
        """Return copies of all tensors of one row; see `ShardReader.read_row`."""
        rows = np.array([row])
        spans = [span for param in self.layout for span in self.spans(param.name, rows)]
        return self._local(spans).read_row(row)

    def forget(self, tensor: str, rows: Array) -> bool:
        """Give up the local copy of some rows; the next read downloads them again.

        Raises
        ------
        ShardCorrupt
            Offline, where they cannot be downloaded again.
        """
        self.file.forget(self.spans(tensor, rows))
        if self.file.offline:
            raise ShardCorrupt(
                f"{self.path}: row {int(rows[0])}, tensor {tensor!r} is damaged in the "
                "cache. Read it again without --offline and PHASEZOO_OFFLINE, which "
                "downloads it again."
            )
        return True

    def _local(self, spans: Sequence[Span]) -> ShardReader:
        """Return a reader of the local copy, in which some ranges are here."""
        opened = self.file.opened(spans)
        if opened.reader is None:
            opened.reader = _LocalReader(opened, self._manifest, self.layout, self._chunks)
        reader: ShardReader = opened.reader
        return reader

    def spans(self, tensor: str, rows: Array) -> list[Span]:
        """Return the ranges of some rows of one tensor."""
        spans: list[Span] = []
        for chunk in self._chunks.get(tensor, []):
            inside = rows[(rows >= chunk.first_row) & (rows < chunk.first_row + chunk.rows)]
            for row in np.unique(inside):
                start = chunk.offset + (int(row) - chunk.first_row) * chunk.row_bytes
                spans.append((start, start + chunk.row_bytes))
        return spans


class _LocalReader(ShardReader):
    """A reader of an open copy, of which only what has arrived may be read."""

    def __init__(
        self,
        opened: OpenCopy,
        manifest: Manifest,
        layout: Layout,
        chunks: Mapping[str, list[Chunk]],
    ) -> None:
        self._source = opened.descriptor
        super().__init__(opened.path, manifest, layout, chunks)

    def _opened(self, path: Path) -> int:
        return os.dup(self._source)  # the lock on the copy goes with it

    def _has_footer(self, path: Path, manifest: Manifest) -> bool:
        return True  # it has not arrived
