"""Shards of an import, staged while networks are read and published at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from catalog.dtypes import Array
from catalog.formats.columns import Row, column_array
from catalog.formats.stored import StoredNetworks
from catalog.importing.known import Known
from catalog.layout import Layout
from catalog.schema import CHECKPOINTS, RUNS
from catalog.storage.folder import Folder
from catalog.storage.manifest import Manifest
from catalog.storage.staging import Staged
from catalog.writer import Part, Writer

METRIC_ROWS = 1 << 20
"""Rows of metrics without weights in one shard."""

_TYPES = {column.name: column.type for column in (*RUNS, *CHECKPOINTS)}


@dataclass(frozen=True)
class ImportedNetwork:
    """A network that is to be stored, with its columns of checkpoints."""

    run_id: str
    run_name: str
    step: int
    columns: Row
    tensors: Mapping[str, Array]


@dataclass
class WaitingNetworks:
    """Networks of one layout that wait for their shard; without a layout, only metrics."""

    layout: Layout | None
    architecture: str
    waiting: list[ImportedNetwork] = field(default_factory=list)
    bytes: int = 0


@dataclass(frozen=True)
class _Shard:
    """Metadata of one staged shard, in a compact form until all types are known."""

    staged: Staged | None
    keys: pa.Table
    run_names: list[str]
    columns: dict[str, list[Any]]


class ImportedShards:
    """The shards of one import, as a context manager.

    The writer is opened only when there is data to write, so an import that is refused
    early, or that has no new networks, leaves no trace.
    """

    def __init__(self, root: Path, zoo: str) -> None:
        self.known = Known.of(root, zoo)
        self._root = root
        self._new = not (root / "manifests").is_dir()
        self._writer: Writer | None = None
        self._batches: dict[int, WaitingNetworks] = {}
        self._waiting = 0
        self._shards: list[_Shard] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def add(self, batch: WaitingNetworks, entry: ImportedNetwork, limit: int) -> None:
        """Add a network; stage the largest batch if more than ``limit`` bytes wait."""
        self._batches[id(batch)] = batch
        batch.waiting.append(entry)
        size = sum(values.nbytes for values in entry.tensors.values())
        batch.bytes += size
        self._waiting += size
        if self._waiting > limit or len(batch.waiting) >= METRIC_ROWS:
            fullest = max(self._batches.values(), key=lambda b: (b.bytes, b is batch))
            self._stage(fullest)

    def publish(
        self, runs: Mapping[str, dict[str, Any]], types: Mapping[str, pa.DataType]
    ) -> list[Manifest]:
        """Commit all added networks and return the manifests of the new shards.

        Parameters
        ----------
        runs : mapping of str to dict
            Row of each run by name.
        types : mapping of str to pyarrow.DataType
            Types of all columns that have a value.
        """
        for batch in self._batches.values():
            if batch.waiting:
                self._stage(batch)
        types_by_column = self.known.types({**types, **_TYPES})
        parts = []
        for shard in self._shards:
            rows = [runs[name] for name in dict.fromkeys(shard.run_names)]
            names = dict.fromkeys(name for row in rows for name in row)
            columns = {name: [row.get(name) for row in rows] for name in names}
            points = {name: shard.keys[name] for name in ("run_id", "step")}
            points |= _arrays(shard.columns, types_by_column)
            tables = pa.table(_arrays(columns, types_by_column)), pa.table(points)
            for table, table_name in zip(tables, ("runs", "checkpoints"), strict=True):
                for name in table.column_names:
                    if name not in _TYPES:
                        self.known.check_table(name, table_name)
            parts.append(Part(*tables, shard.staged))
        return self._open().publish(parts) if parts else []

    def _stage(self, batch: WaitingNetworks) -> None:
        entries = sorted(batch.waiting, key=lambda entry: entry.step)
        keys = pa.table(
            {
                "run_id": pa.array([e.run_id for e in entries], pa.string()),
                "step": pa.array([e.step for e in entries], pa.int64()),
            }
        )
        staged = None
        if batch.layout is not None:
            stored = StoredNetworks(batch.layout, keys, [e.tensors for e in entries])
            staged = self._open().stage(stored, batch.architecture)
        names = dict.fromkeys(name for e in entries for name in e.columns)
        columns = {name: [e.columns.get(name) for e in entries] for name in names}
        self._shards.append(_Shard(staged, keys, [e.run_name for e in entries], columns))
        self._waiting -= batch.bytes
        batch.waiting, batch.bytes = [], 0

    def _open(self) -> Writer:
        if self._writer is None:
            if self._new:
                Folder(self._root).create()
            self._writer = Writer(self._root)
        return self._writer


def _arrays(
    columns: Mapping[str, Sequence[Any]], kinds: Mapping[str, pa.DataType]
) -> dict[str, pa.Array]:
    """Return arrays of the columns with a type; columns without any value have no type."""
    return {
        name: pa.array(values, kinds[name])
        if pa.types.is_list(kinds[name])
        else column_array(list(values), kinds[name], name)
        for name, values in columns.items()
        if name in kinds
    }
