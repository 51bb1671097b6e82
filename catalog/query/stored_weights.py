"""Weights of one version, as its index describes them: layouts, chunks, fingerprints."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from catalog.errors import NotFound, ShardCorrupt, closest
from catalog.layout import Layout
from catalog.query.database import Database
from catalog.quoting import literal
from catalog.storage.manifest import Manifest
from catalog.storage.metadata import metadata_source
from catalog.storage.reader import ShardReader
from catalog.storage.shard import Chunk
from catalog.storage.snapshot import Snapshot


class StoredWeights:
    """Layouts and shards of one snapshot; each shard is opened once.

    Parameters
    ----------
    root : Path
        Folder of the catalogue.
    snapshot : Snapshot
        Version to read.
    database : Database
        Index of the snapshot.
    """

    def __init__(self, root: Path, snapshot: Snapshot, database: Database) -> None:
        self._root, self._snapshot, self._database = root, snapshot, database
        self._readers: dict[str, ShardReader] = {}

    def layout(self, arch_id: str) -> Layout:
        """Return the layout of an architecture.

        Raises
        ------
        NotFound
            If no shard holds the architecture.
        """
        if arch_id not in self._layouts:
            raise NotFound(
                f"No architecture {arch_id!r}. {closest(arch_id, self._layouts)}"
            )
        return self._layouts[arch_id]

    def fingerprints(self, shards: list[str]) -> pa.Table:
        """Return the hash of every tensor of some shards whose readers are open."""
        by_name = self._snapshot.shards
        holders = {by_name[shard].pack or shard for shard in shards}
        manifests = [by_name[shard] for shard in sorted(holders)]
        source = metadata_source(self._root, manifests, "tensor_stats")
        names = ", ".join(literal(shard) for shard in shards)
        return self._database.table(
            f"SELECT shard, row, tensor, blake3 FROM {source} WHERE shard IN ({names})"
        )

    def reader(self, shard: str) -> ShardReader:
        """Return the reader of a shard.

        Raises
        ------
        ShardCorrupt
            If the shard has no weights, or if the index or the file is damaged.
        """
        if shard not in self._readers:
            self._readers[shard] = self._opened(shard)
        return self._readers[shard]

    def _opened(self, shard: str) -> ShardReader:
        manifest = self._snapshot.shards.get(shard)
        if manifest is None or "weights" not in manifest.files:
            raise ShardCorrupt(
                f"checkpoints/ names weights in shard {shard!r}, but that shard has no "
                "weights. Run 'phasezoo verify', then fetch or train the shard again."
            )
        reader = self._open_reader(manifest)
        if not reader.trusted:
            query = 'SELECT "row", run_id, step FROM checkpoints WHERE shard = ?'
            reader.check_keys(self._query_shard(query, shard))
        return reader

    def _open_reader(self, manifest: Manifest) -> ShardReader:
        chunks = self._chunks(manifest.shard)
        path = self._root / manifest.files["weights"].path
        return ShardReader(path, manifest, self.layout(manifest.arch_id), chunks)

    def _chunks(self, shard: str) -> dict[str, list[Chunk]]:
        rows = self._query_shard(
            'SELECT tensor, first_row, rows, "offset", row_bytes FROM chunks '
            "WHERE shard = ? ORDER BY tensor, first_row",
            shard,
        )
        chunks: dict[str, list[Chunk]] = {}
        for row in rows:
            if not all(isinstance(number, int) for number in row[1:]):
                raise ShardCorrupt(
                    f"chunks/ of shard {shard}: expected integers for tensor "
                    f"{row[0]!r}. Got {row[1:]}. Run 'phasezoo verify'."
                )
            chunks.setdefault(row[0], []).append(Chunk(*row))
        return chunks

    def _query_shard(self, query: str, shard: str) -> list[Any]:
        try:
            connection = self._database.connection(query)
            return connection.execute(query, [shard]).fetchall()
        except duckdb.Error as error:
            raise ShardCorrupt(
                f"The index of {self._root} cannot be read: {error}. Run 'phasezoo "
                "verify'. If that finds no problem, delete cache/; the index is then "
                "rebuilt."
            ) from error

    @cached_property
    def _layouts(self) -> dict[str, Layout]:
        rows = self._database.table("SELECT * FROM tensors ORDER BY arch_id, position")
        grouped: dict[str, list[dict[str, Any]]] = {}
        for row in rows.to_pylist():
            if not isinstance(row["arch_id"], str) or not isinstance(row["tensor"], str):
                raise ShardCorrupt(
                    f"tensors/ of {self._root} has a row without an arch_id or a tensor "
                    f"name: {row}. Run 'phasezoo verify', then fetch or train the shard "
                    "again."
                )
            param = {"name": row["tensor"], **row}
            grouped.setdefault(row["arch_id"], []).append(param)
        try:
            return {arch: Layout.from_json(rows) for arch, rows in grouped.items()}
        except (TypeError, KeyError, ValueError) as error:
            raise ShardCorrupt(
                f"tensors/ of {self._root} holds no valid layout: {error}. Delete cache/, "
                "because the index there has a copy and is rebuilt. If the error stays, "
                "run 'phasezoo verify', then fetch or train the shard again."
            ) from error
