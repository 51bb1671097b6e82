"""Catalogue of populations in one folder, with access by SQL and to the weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa

from catalog.console.local_only import check_local
from catalog.console.pasting import word
from catalog.dtypes import Array
from catalog.errors import CatalogError, NotFound
from catalog.layout import Layout
from catalog.population import Population
from catalog.query.allowed_folders import allowed_folders
from catalog.query.answer import Answer
from catalog.query.check import checked_query
from catalog.query.condition import condition, expression
from catalog.query.database import Database
from catalog.query.refusal import sql_error
from catalog.query.stored_weights import StoredWeights
from catalog.selection import Selection
from catalog.storage.folder import Folder
from catalog.storage.json_column import json_object
from catalog.storage.partial import ROOT_KEY
from catalog.storage.reader import ShardReader
from catalog.storage.snapshot import Snapshot, newest_snapshot, read_snapshot
from catalog.writer import Writer

Where: TypeAlias = str | Answer | duckdb.DuckDBPyRelation | pa.Table | None
"""Selector of checkpoints; see `Catalog.select`."""


def default_root() -> Path:
    """Return the default catalogue folder: ``PHASEZOO_HOME``, or ``./phasezoo-data``."""
    return Path(os.environ.get("PHASEZOO_HOME") or "phasezoo-data")


def open_catalog(
    path: str | Path | None = None,
    *,
    create: bool = False,
    at: int | None = None,
    allow: Sequence[str | Path] = (),
) -> Catalog:
    """Open a catalogue folder at its newest version, or at an older one.

    Parameters
    ----------
    path : str or Path, optional
        Catalogue folder. Default: ``PHASEZOO_HOME``, else ``./phasezoo-data``.
    create : bool, default=False
        Create an empty catalogue if there is none.
    at : int, optional
        Version to open, as `Catalog.version` and ``phasezoo versions`` number them.
        Default: the newest.
    allow : sequence of str or Path, optional
        Folders whose files queries may read, besides the catalogue.

    Raises
    ------
    NotFound
        If there is no catalogue and ``create`` is false, or if the version or an allowed
        folder does not exist.
    """
    check_local(path)
    root = Path(path) if path is not None else default_root()
    if not (root / "manifests").is_dir():
        if not create:
            raise NotFound(
                f"There is no catalogue in {root}. To create one: phasezoo train "
                f"digits_mlp_phases --catalog {word(root)}. To read another one, add "
                "--catalog DIR."
            )
        Folder(root).create()
    return Catalog(root, at=at, allow=allow)


class Catalog:
    """Catalogue folder as of one snapshot.

    Parameters
    ----------
    root : Path
        Catalogue folder that `open_catalog` found or created.
    at, allow
        Version and further folders; see `open_catalog`.
    cached : bool, default=True
        Whether to use the index in ``cache/``. Code that deletes files passes False and
        builds the index from the committed files, because a cache may be wrong.

    Notes
    -----
    An opened catalogue does not change while other processes write. Open it again, or
    call `refreshed`, to see later commits.
    """

    def __init__(
        self,
        root: Path,
        *,
        at: int | None = None,
        allow: Sequence[str | Path] = (),
        cached: bool = True,
    ) -> None:
        self.root = root.absolute()  # stays valid if the process changes its folder
        self._folder = Folder(self.root)
        self._folder.pin()
        self._at, self._cached = at, cached
        self._allow = allowed_folders(allow)
        self.snapshot = self._newest() if at is None else read_snapshot(self._folder, at)

    def _newest(self) -> Snapshot:
        try:
            return newest_snapshot(self._folder)
        except OSError as error:
            if isinstance(error, CatalogError):
                raise
            return newest_snapshot(self._folder, publish=False)

    def __repr__(self) -> str:
        return f"Catalog({str(self.root)!r}, version {self.snapshot.version})"

    @property
    def version(self) -> int:
        """Version number of the snapshot."""
        return self.snapshot.version

    @property
    def writable(self) -> bool:
        """False for a remote catalogue, which is read where it is."""
        return True

    def check_writable(self) -> None:
        """Check that something can be committed, before work that ends with a commit.

        Raises
        ------
        CatalogError
            If this is a remote catalogue; the message says how to fetch it.
        """

    def refreshed(self) -> Catalog:
        """Return the catalogue at its newest version."""
        return Catalog(self.root, allow=self._allow, cached=self._cached)

    def writer(self, *, spare: bool = False) -> Writer:
        """Return a writer of new shards, a context manager; see `Writer`."""
        return Writer(self.root, spare=spare, same=self._folder)

    def sql(self, query: str) -> Answer:
        """Answer a query over the views that ``phasezoo schema`` lists.

        Parameters
        ----------
        query : str
            One statement that only reads. It cannot change anything, and it can read no
            files except those of the catalogue and of the folders that `open_catalog`
            was allowed.

        Returns
        -------
        Answer
            Lazy result; ``.fetchall()``, ``.df()`` and ``.to_arrow_table()`` read it. Each
            answer has its own connection, so join tables within one query: two answers
            cannot be joined.

        Raises
        ------
        CatalogError
            If the query does more than read, or if DuckDB refuses it; the message then
            holds DuckDB's explanation.

        Examples
        --------
        >>> from catalog import open
        >>> zoo = open(create=True, path=getfixture("tmp_path"))
        >>> zoo.sql("SELECT count(*) FROM runs").fetchall()
        [(0,)]
        """
        connection = self._database.connection(query)
        text = checked_query(connection, query)
        try:
            return Answer(connection.sql(text), connection)
        except duckdb.Error as error:
            raise sql_error(error) from error

    def matching(self, where: str) -> str:
        """Check a condition and return the query for the rows of ``models`` it selects.

        Parameters
        ----------
        where : str
            One expression over the columns; ORDER BY, LIMIT and OFFSET may follow.

        Raises
        ------
        CatalogError
            If the condition is not valid SQL, or holds anything else.

        Examples
        --------
        >>> from catalog import open
        >>> zoo = open(create=True, path=getfixture("tmp_path"))
        >>> query = f"SELECT count(*) FROM ({zoo.matching('step = 3')})"
        >>> zoo.sql(query).fetchall()
        [(0,)]
        """
        return condition(self._database.connection(""), where)

    def expression(self, text: str) -> str:
        """Check an expression over the columns of ``models`` and return it in brackets.

        Parameters
        ----------
        text : str
            SQL expression with one value per checkpoint.

        Raises
        ------
        CatalogError
            If the text is not valid SQL, or is anything but one expression.

        Examples
        --------
        >>> from catalog import open
        >>> zoo = open(create=True, path=getfixture("tmp_path"))
        >>> zoo.sql(f"SELECT {zoo.expression('step * 2')} AS a FROM models").fetchall()
        []
        """
        return expression(self._database.connection(""), text)

    def select(self, where: Where = None) -> Selection:
        """Select checkpoints; their weights are read from disk only on request.

        Parameters
        ----------
        where : str, Answer, DuckDBPyRelation or pyarrow.Table, optional
            Condition on ``models``, such as ``"width = 32 AND test_accuracy > 0.9"``
            (ORDER BY and LIMIT may follow); or an answer, a DuckDB relation or a table
            with the columns ``run_id`` and ``step``, whose order is kept. Default: all
            checkpoints.

        Raises
        ------
        CatalogError
            If the condition is not valid SQL, or if ``run_id`` or ``step`` is missing.
        NotFound
            If a ``(run_id, step)`` pair is not in the catalogue.
        """
        if isinstance(where, str) or where is None:
            return self._where(where, "*")
        keys = where if isinstance(where, pa.Table) else arrow_table(where)
        for name in ("run_id", "step"):
            if name not in keys.column_names:
                raise CatalogError(
                    f"The relation has no column {name!r}; select both run_id and step. "
                    f"Its columns: {', '.join(keys.column_names)}."
                )
        keys = keys.select(["run_id", "step"]).append_column(
            "_at", pa.array(range(len(keys)), pa.int64())
        )
        table = self._database.table(
            "SELECT m.* FROM _keys k JOIN models m USING (run_id, step) ORDER BY k._at",
            _keys=keys,
        )
        if len(table) != len(keys):
            raise NotFound(
                f"{len(keys) - len(table)} of {len(keys)} (run_id, step) pairs are not "
                "in this catalogue."
            )
        return self._selection(table)

    def load(
        self,
        where: Where = None,
        *,
        lossy: bool = False,
        verify: bool = False,
    ) -> Population:
        """Read the selected networks; see `select` and `Selection.population`."""
        return self.select(where).population(lossy=lossy, verify=verify)

    def read_tensor(
        self,
        name: str,
        where: Where = None,
        out: Array | None = None,
    ) -> Array:
        """Read one tensor of the selected networks; see `select` and `Selection.tensor`."""
        if where is None:
            return self._all.tensor(name, out)
        # Two columns are enough, except that ORDER BY may name a column by its position.
        if isinstance(where, str) and "order" not in where.lower():
            return self._where(where, "shard, row").tensor(name, out)
        return self.select(where).tensor(name, out)

    def about(self, asked: pa.Table, query: str) -> pa.Table:
        """Answer a query of phasezoo itself over the views and a table of keys.

        Parameters
        ----------
        asked : pyarrow.Table
            Table that the query names ``asked``.
        query : str
            SQL that holds no text from files or users.
        """
        return self._database.table(query, asked=asked)

    def reader(self, shard: str) -> ShardReader:
        """Return the reader of the weights of a shard.

        Raises
        ------
        ShardCorrupt
            If the shard has no weights, or is damaged.
        """
        return self._weights.reader(shard)

    def layout(self, arch_id: str) -> Layout:
        """Return the layout of an architecture.

        Raises
        ------
        NotFound
            If no shard holds the architecture.
        """
        return self._weights.layout(arch_id)

    @cached_property
    def _all(self) -> Selection:
        """All checkpoints; safe to cache, as an opened catalogue does not change."""
        return self._where(None, "shard, row")

    def _where(self, where: str | None, columns: str) -> Selection:
        query = self.matching("true" if where is None else where)
        if columns != "*":
            query = f"SELECT {columns} FROM ({query})"
        return self._selection(self._database.table(query))

    def _selection(self, table: pa.Table) -> Selection:
        if self._has_parts:
            metadata = table.schema.metadata or {}
            root = str(self.root).encode()
            table = table.replace_schema_metadata({**metadata, ROOT_KEY: root})
        return Selection(table, self._weights.reader, self._weights.fingerprints)

    @cached_property
    def _has_parts(self) -> bool:
        return any(manifest.partial for manifest in self.snapshot.manifests)

    @cached_property
    def _weights(self) -> StoredWeights:
        return StoredWeights(self.root, self.snapshot, self._database)

    @cached_property
    def _database(self) -> Database:
        newest = self._at is None
        return Database(
            self._folder,
            self.snapshot,
            newest=newest,
            allow=self._allow,
            cached=self._cached,
        )


def arrow_table(answer: Answer | duckdb.DuckDBPyRelation) -> pa.Table:
    """Read an answer into an Arrow table.

    Raises
    ------
    CatalogError
        If the query fails on a value, e.g. on a text that it casts to a number.
    """
    try:
        return answer.to_arrow_table()
    except duckdb.Error as error:
        raise sql_error(error) from error


def architecture_of(population: Population, i: int) -> dict[str, Any]:
    """Return the arguments that `zoo.modules.build` needs to build network i.

    Raises
    ------
    NotFound
        If the architecture is not recorded, as for some imported networks.
    """
    names = population.table.column_names
    text = population.table["architecture"][i].as_py() if "architecture" in names else None
    if not text:
        raise NotFound(
            f"The architecture of network {i} is not recorded; use "
            "population.state_dict(i) with your own module."
        )
    return json_object(text, f"The architecture of network {i}")
