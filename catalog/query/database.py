"""Database for queries: the index attached read-only, and nothing else within reach.

Every query gets a new connection, so that it leaves no temporary object, setting or seed
for the next one. Besides the index, a query can read the Parquet files of views that are
not copied into the index, and folders that the user allows.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from catalog.errors import ShardCorrupt
from catalog.index.cache import INDEX, attach, ensure_index, usable
from catalog.index.in_place import too_large
from catalog.index.spill import spill_folder
from catalog.index.tables import Connection, build_index, connect, views_in_place
from catalog.query.refusal import sql_error
from catalog.quoting import file_pattern, identifier, literal
from catalog.schema import TABLES, empty
from catalog.storage.folder import Folder
from catalog.storage.metadata import metadata_source
from catalog.storage.snapshot import Snapshot

_ON_DEMAND = ("tensor_stats", "measures")
"""Views over Parquet whose files are hashed when a query first names them."""

_READS_ALL = re.compile(
    r"\b(models|checkpoints|tables|views|columns|sqlite_master|(duckdb|pg|pragma)_\w+)\b",
    re.IGNORECASE,
)
"""Pattern of queries that name a big view of a large catalogue or may list views."""

_NO_MEASURES = (
    "(SELECT ''::VARCHAR AS run_id, 0::BIGINT AS step, ''::VARCHAR AS measure, "
    "''::VARCHAR AS measure_id WHERE false)"
)


class Database:
    """Index of a snapshot, opened for queries.

    Parameters
    ----------
    folder : Folder
        Folder of the catalogue.
    snapshot : Snapshot
        Snapshot that queries read.
    newest : bool
        Whether the snapshot is the newest, whose index supersedes older ones.
    allow : sequence of str
        Folders that queries may read too, as `allowed_folders` returns them.
    cached : bool
        Whether to use an index in ``cache/`` and to store a new one there.

    Notes
    -----
    The database is opened when a connection is first requested. Listing thousands of files
    takes time, so the index is opened alone until a query needs Parquet.
    """

    def __init__(
        self,
        folder: Folder,
        snapshot: Snapshot,
        *,
        newest: bool,
        allow: Sequence[str] = (),
        cached: bool = True,
    ) -> None:
        self._folder, self._snapshot, self._newest = folder, snapshot, newest
        self._root, self._manifests = folder.root, snapshot.manifests
        self._large = too_large(self._manifests)
        self._allow, self._cached = allow, cached
        self._opened: dict[bool, Connection] = {}
        self._sources: dict[str, str] = {}
        self._in_place: dict[str, str] = {}

    def connection(self, query: str) -> Connection:
        """Open a connection for a query, with the views over Parquet that it names.

        Raises
        ------
        ShardCorrupt
            If the metadata of the catalogue cannot be indexed.
        """
        views = {v for v in _ON_DEMAND if re.search(rf"\b{v}\b", query, re.IGNORECASE)}
        try:
            connection = self._cursor(parquet=bool(views) or self._large)
            if _READS_ALL.search(query):
                views |= self._in_place.keys()
            for view in (*_ON_DEMAND, *self._in_place):
                if view in views:
                    source = self._in_place.get(view) or self._source(view)
                    connection.execute(f"CREATE TEMP VIEW {view} AS {source}")
        except duckdb.Error as error:
            raise ShardCorrupt(
                f"The metadata in {self._root} cannot be indexed: {error}. Run 'phasezoo "
                "verify' to find the file."
            ) from error
        return connection

    def table(self, query: str, **tables: pa.Table) -> pa.Table:
        """Answer an internal query, which may name the given tables."""
        connection = self.connection(query)
        try:
            for name, table in tables.items():
                connection.register(name, table)
            return connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            raise sql_error(error) from error

    def _cursor(self, *, parquet: bool) -> Connection:
        """Return a new connection, and reopen if an internal error ended the last one."""
        if not usable(self._open(parquet=parquet)):
            self._opened.clear()
        connection = self._open(parquet=parquet).cursor()
        connection.execute(f"USE {INDEX}")
        return connection

    def _open(self, *, parquet: bool) -> Connection:
        """Open the index, with or without access to the files of views over Parquet."""
        if parquet in self._opened:
            return self._opened[parquet]
        connection, stored = connect(), False
        for _ in range(2 if self._cached else 0):  # again if the first index was damaged
            path = ensure_index(
                self._folder, self._snapshot, connection, newest=self._newest
            )
            if not usable(connection):
                connection = connect()
            stored = path is not None and attach(connection, path)
            if stored or path is None:
                break
        if not usable(connection):
            connection = connect()
        if not stored:
            self._attach_unstored(connection)
        connection.execute(f"USE {INDEX}")
        if self._large:
            self._in_place = views_in_place(connection, self._root, self._manifests)
        # An index that could not be stored is built once, for both kinds of queries.
        self._lock(connection, _ON_DEMAND if parquet or not stored else ())
        self._opened |= (
            {parquet: connection} if stored else dict.fromkeys((True, False), connection)
        )
        return connection

    def _attach_unstored(self, connection: Connection) -> None:
        """Build the index in a file that is deleted once open, or else in memory."""
        with contextlib.suppress(OSError, duckdb.Error):
            folder = Path(spill_folder())
            folder.mkdir()
            try:
                with connect(folder / "index.duckdb") as builder:
                    build_index(builder, self._root, self._manifests, in_place=self._large)
                if attach(connection, folder / "index.duckdb"):
                    return
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        connection.execute(f"ATTACH ':memory:' AS {INDEX}")
        connection.execute(f"USE {INDEX}")
        build_index(connection, self._root, self._manifests, in_place=self._large)

    def _lock(self, connection: Connection, kinds: Sequence[str]) -> None:
        """Deny access to all other files, and lock the settings."""
        real_root = os.path.realpath(self._root)
        paths = [
            os.path.join(real_root, manifest.own[kind].path)
            for manifest in self._manifests
            for kind in (*kinds, *self._in_place)
            if kind in manifest.own
        ]
        paths += [p for path in paths if (p := file_pattern(path)) != path]
        for statement in (
            "DETACH memory",
            f"SET allowed_paths = [{', '.join(map(literal, paths))}]",
            f"SET allowed_directories = [{', '.join(map(literal, self._allow))}]",
            "SET python_enable_replacements = false",
            # Without it, footers of a thousand files are read again for every query.
            f"SET parquet_metadata_cache = {str(self._large).lower()}",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            connection.execute(statement)

    def _source(self, view: str) -> str:
        """Return the query of a view that is created on demand."""
        if view not in self._sources:
            source = metadata_source(self._root, self._manifests, view)
            if not source:
                source = self._without_rows(view) if view in TABLES else _NO_MEASURES
            columns = "COLUMNS(lambda c: c <> 'pz_shard')"
            self._sources[view] = f"SELECT {columns} FROM {source}"
        return self._sources[view]

    def _without_rows(self, view: str) -> str:
        """Return SQL for the columns of a view without rows."""
        connection = self._cursor(parquet=True)
        connection.register("none", empty(view))
        described = connection.execute("DESCRIBE FROM none").fetchall()
        columns = ", ".join(f"NULL::{row[1]} AS {identifier(row[0])}" for row in described)
        return f"(SELECT {columns} WHERE false)"
