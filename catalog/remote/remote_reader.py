"""Reading tensors of a shard that is elsewhere, by the ranges that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catalog.dtypes import Array
from catalog.layout import Layout
from catalog.remote.sparse_file import Span, SparseFile
from catalog.storage.manifest import Manifest
from catalog.storage.reader import ShardReader
from catalog.storage.shard import Chunk


class RemoteShardReader(ShardReader):
    """A `ShardReader` of a sparse file, which downloads a range before it is read.

    Offsets are those of the commit records: no footer is read. `Selection.verified` and
    ``load(verify=True)`` compare what arrived with the hash of each tensor.

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
        self.file = self._file = file
        super().__init__(file.path, manifest, layout, chunks)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteShardReader, (self._file, self._manifest, self.layout, self._chunks)

    def reopened(self) -> RemoteShardReader:
        """Return a reader of the same shard with a file and connections of its own."""
        file = self._file.reopened()
        return RemoteShardReader(file, self._manifest, self.layout, self._chunks)

    def _has_footer(self, path: Path, manifest: Manifest) -> bool:
        return True  # it is not here; the commit record vouches for the offsets

    def check_keys(self, checkpoints: Sequence[tuple[int, str, int]]) -> None:
        """Check that rows exist; their keys are those of the committed metadata."""
        for row, _, _ in checkpoints:
            self._check_rows(row, row)

    def read(self, tensor: str, rows: Array, out: Array) -> None:
        """Fill ``out`` with one tensor of the given rows; see `ShardReader.read`."""
        self._file.need(self.spans(tensor, rows))
        super().read(tensor, rows, out)

    def pieces(self, tensor: str, rows: Array) -> Iterator[tuple[slice | Array, Array]]:
        """Yield stored values of one tensor; see `ShardReader.pieces`."""
        self._file.need(self.spans(tensor, rows))
        yield from super().pieces(tensor, rows)

    def read_row(self, row: int) -> dict[str, Array]:
        """Return copies of all tensors of one row; see `ShardReader.read_row`."""
        rows = np.array([row])
        self._file.need([s for p in self.layout for s in self.spans(p.name, rows)])
        return super().read_row(row)

    def spans(self, tensor: str, rows: Array) -> list[Span]:
        """Return the ranges of some rows of one tensor."""
        spans: list[Span] = []
        for chunk in self._chunks.get(tensor, []):
            inside = rows[(rows >= chunk.first_row) & (rows < chunk.first_row + chunk.rows)]
            for row in np.unique(inside):
                start = chunk.offset + (int(row) - chunk.first_row) * chunk.row_bytes
                spans.append((start, start + chunk.row_bytes))
        return spans
