"""Many populations in one folder: the door to SQL and to weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa

from catalog.console.pasting import word
from catalog.dtypes import Array
from catalog.errors import CatalogError, NotFound, ShardCorrupt, closest
from catalog.layout import Layout
from catalog.population import Population
from catalog.query.allowed_folders import allowed_folders
from catalog.query.answer import Answer
from catalog.query.check import checked_query
from catalog.query.condition import condition, expression
from catalog.query.database import Database
from catalog.query.refusal import sql_error
from catalog.quoting import literal
from catalog.selection import Selection
from catalog.storage.folder import Folder
from catalog.storage.json_column import json_object
from catalog.storage.metadata import metadata_source
from catalog.storage.reader import ShardReader
from catalog.storage.shard import Chunk
from catalog.storage.snapshot import Snapshot, newest_snapshot, read_snapshot
from catalog.writer import Writer

Where: TypeAlias = str | Answer | duckdb.DuckDBPyRelation | pa.Table | None
"""Which checkpoints: see `Catalog.select`."""


def default_root() -> Path:
    """``PHASEZOO_HOME``, or ``./phasezoo-data``."""
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
        The folder; default ``PHASEZOO_HOME``, else ``./phasezoo-data``.
    create : bool, default=False
        Make an empty catalogue if there is none.
    at : int, optional
        A version; `Catalog.version` and ``phasezoo versions`` tell them.
    allow : sequence of str or Path, optional
        Folders whose files queries may read, beside the catalogue.

    Raises
    ------
    NotFound
        If there is no catalogue and ``create`` is false, or no such version or folder.
    """
    root = Path(path) if path is not None else default_root()
    if not (root / "manifests").is_dir():
        if not create:
            raise NotFound(
                f"There is no catalogue in {root}. Make one: phasezoo train "
                f"digits_mlp_phases --catalog {word(root)}; or name one with --catalog DIR."
            )
        Folder(root).create()
    return Catalog(root, at=at, allow=allow)


class Catalog:
    """A catalogue folder as of one snapshot.

    Parameters
    ----------
    root : Path
        A folder that `open_catalog` found or made.
    at, allow
        See `open_catalog`.
    cached : bool, default=True
        Whether an index in ``cache/`` is used. What deletes files builds its own from what
        was committed: nobody vouches for a cache.

    Notes
    -----
    An opened catalogue does not change while others write; open it again, or call
    `refreshed`, to see what came since.
    """

    def __init__(
        self,
        root: Path,
        *,
        at: int | None = None,
        allow: Sequence[str | Path] = (),
        cached: bool = True,
    ) -> None:
        self.root = root.absolute()  # also after the current folder has changed
        self._folder = Folder(self.root)
        self._folder.pin()
        self._at, self._cached = at, cached
        self._allow = allowed_folders(allow)
        self.snapshot = self._newest() if at is None else read_snapshot(self._folder, at)
        self._shard_readers: dict[str, ShardReader] = {}

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
        """Number of the snapshot."""
        return self.snapshot.version

    def refreshed(self) -> Catalog:
        """The catalogue at its newest version."""
        return Catalog(self.root, allow=self._allow, cached=self._cached)

    def writer(self, *, spare: bool = False) -> Writer:
        """A writer of new shards, as a context manager; see `Writer`."""
        return Writer(self.root, spare=spare, same=self._folder)

    def sql(self, query: str) -> Answer:
        """Answer a query over the views that ``phasezoo schema`` lists.

        Parameters
        ----------
        query : str
            One statement that reads. It can change nothing, and reads no files but those
            of the catalogue and of folders that `open_catalog` allows.

        Returns
        -------
        Answer
            Lazy; ``.fetchall()``, ``.df()``, ``.to_arrow_table()`` read it. Each answer
            has a connection of its own: join within a query, not answers of two.

        Raises
        ------
        CatalogError
            If the query does more than read, or DuckDB refuses it, with its explanation.

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
        """Return the query for the rows of ``models`` that a condition picks, checked.

        Parameters
        ----------
        where : str
            One expression over the columns; ORDER BY, LIMIT and OFFSET may follow.

        Raises
        ------
        CatalogError
            If it is anything else, or no SQL.

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
        """Return an expression over the columns of ``models`` in brackets, checked.

        Parameters
        ----------
        text : str
            One value per checkpoint, and nothing else.

        Raises
        ------
        CatalogError
            If it is anything else, or no SQL.

        Examples
        --------
        >>> from catalog import open
        >>> zoo = open(create=True, path=getfixture("tmp_path"))
        >>> zoo.sql(f"SELECT {zoo.expression('step * 2')} AS a FROM models").fetchall()
        []
        """
        return expression(self._database.connection(""), text)

    def select(self, where: Where = None) -> Selection:
        """Pick checkpoints; their weights stay on disk until asked for.

        Parameters
        ----------
        where : str, Answer, DuckDBPyRelation or pyarrow.Table, optional
            A condition on ``models`` ("width = 32 AND test_accuracy > 0.9"; ORDER BY
            and LIMIT may follow), or an answer, a relation of DuckDB or a table with
            ``run_id`` and ``step``, whose order is kept. Default: all.

        Raises
        ------
        CatalogError
            If the condition is not valid SQL.
        """
        if isinstance(where, str) or where is None:
            return self._where(where, "*")
        keys = where if isinstance(where, pa.Table) else arrow_table(where)
        for name in ("run_id", "step"):
            if name not in keys.column_names:
                raise CatalogError(
                    f"The relation has no column {name!r}; select run_id and step. It "
                    f"has: {', '.join(keys.column_names)}."
                )
        keys = keys.select(["run_id", "step"]).append_column(
            "_at", pa.array(range(len(keys)), pa.int64())
        )
        table = self._arrow(
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
        """One tensor of the selected networks; see `select` and `Selection.tensor`."""
        if where is None:
            return self._all.tensor(name, out)
        # The rest of models is not read; but ORDER BY may count its columns.
        if isinstance(where, str) and "order" not in where.lower():
            return self._where(where, "shard, row").tensor(name, out)
        return self.select(where).tensor(name, out)

    def layout(self, arch_id: str) -> Layout:
        """Layout of an architecture.

        Raises
        ------
        NotFound
            If no shard has the architecture.
        """
        if arch_id not in self._layouts:
            raise NotFound(
                f"No architecture {arch_id!r}. {closest(arch_id, self._layouts)}"
            )
        return self._layouts[arch_id]

    @cached_property
    def _all(self) -> Selection:
        """Every checkpoint: the same for ever, as a catalogue does not change."""
        return self._where(None, "shard, row")

    def _where(self, where: str | None, columns: str) -> Selection:
        query = self.matching(where or "true")
        if columns != "*":
            query = f"SELECT {columns} FROM ({query})"
        return self._selection(self._arrow(query))

    def _selection(self, table: pa.Table) -> Selection:
        return Selection(table, self._reader, self._fingerprints)

    def _arrow(self, query: str, **tables: pa.Table) -> pa.Table:
        """The answer to a query of ours, which may name some tables."""
        connection = self._database.connection(query)
        try:
            for name, table in tables.items():
                connection.register(name, table)
            return connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            raise sql_error(error) from error

    def _fingerprints(self, shards: list[str]) -> pa.Table:
        known = self.snapshot.shards  # the readers of these shards were opened before
        holders = {known[shard].pack or shard for shard in shards}
        manifests = [known[shard] for shard in sorted(holders)]
        source = metadata_source(self.root, manifests, "tensor_stats")
        names = ", ".join(literal(shard) for shard in shards)
        return self._arrow(
            f"SELECT shard, row, tensor, blake3 FROM {source} WHERE shard IN ({names})"
        )

    def _reader(self, shard: str) -> ShardReader:
        if shard not in self._shard_readers:
            manifest = self.snapshot.shards.get(shard)
            if manifest is None or "weights" not in manifest.files:
                raise ShardCorrupt(
                    f"checkpoints/ names weights in shard {shard!r}, which has none. Run "
                    "'phasezoo verify', then fetch or train it again."
                )
            rows = self._of_shard(
                'SELECT tensor, first_row, rows, "offset", row_bytes FROM chunks '
                "WHERE shard = ? ORDER BY tensor, first_row",
                shard,
            )
            chunks: dict[str, list[Chunk]] = {}
            for row in rows:
                if not all(isinstance(number, int) for number in row[1:]):
                    raise ShardCorrupt(
                        f"chunks/ of shard {shard}: expected numbers for tensor "
                        f"{row[0]!r}. Got {row[1:]}. Run 'phasezoo verify'."
                    )
                chunks.setdefault(row[0], []).append(Chunk(*row))
            path = self.root / manifest.files["weights"].path
            layout = self.layout(manifest.arch_id)
            reader = ShardReader(path, manifest, layout, chunks)
            if not reader.trusted:
                reader.check_keys(self._rows_of(shard))
            self._shard_readers[shard] = reader
        return self._shard_readers[shard]

    def _rows_of(self, shard: str) -> list[tuple[int, str, int]]:
        return self._of_shard(
            'SELECT "row", run_id, step FROM checkpoints WHERE shard = ?', shard
        )

    def _of_shard(self, query: str, shard: str) -> list[Any]:
        try:
            connection = self._database.connection(query)
            return connection.execute(query, [shard]).fetchall()
        except duckdb.Error as error:
            raise ShardCorrupt(
                f"The index of {self.root} cannot be read: {error}. Run 'phasezoo verify'; "
                "if it reports nothing, delete cache/, which is rebuilt."
            ) from error

    @cached_property
    def _layouts(self) -> dict[str, Layout]:
        rows = self._arrow("SELECT * FROM tensors ORDER BY arch_id, position")
        grouped: dict[str, list[dict[str, Any]]] = {}
        for row in rows.to_pylist():
            if not isinstance(row["arch_id"], str) or not isinstance(row["tensor"], str):
                raise ShardCorrupt(
                    f"tensors/ of {self.root} has a row without a name: {row}. Run "
                    "'phasezoo verify', then fetch or train the shard again."
                )
            param = {"name": row["tensor"], **row}
            grouped.setdefault(row["arch_id"], []).append(param)
        try:
            return {arch: Layout.from_json(rows) for arch, rows in grouped.items()}
        except (TypeError, KeyError, ValueError) as error:
            raise ShardCorrupt(
                f"tensors/ of {self.root} holds no layout: {error}. Delete cache/, whose "
                "index repeats it and is rebuilt. If it stays, run 'phasezoo verify', then "
                "fetch or train the shard again."
            ) from error

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
    """Read an answer.

    Raises
    ------
    CatalogError
        If a value makes it fail, e.g. a text that is cast to a number.
    """
    try:
        return answer.to_arrow_table()
    except duckdb.Error as error:
        raise sql_error(error) from error


def architecture_of(population: Population, i: int) -> dict[str, Any]:
    """What `zoo.modules.build` needs to make network i.

    Raises
    ------
    NotFound
        If the architecture is unknown, as for some imported networks.
    """
    names = population.table.column_names
    text = population.table["architecture"][i].as_py() if "architecture" in names else None
    if not text:
        raise NotFound(
            f"The architecture of network {i} is not recorded; use "
            "population.state_dict(i) with your own module."
        )
    return json_object(text, f"The architecture of network {i}")
