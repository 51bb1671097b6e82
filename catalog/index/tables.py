"""Tables of the index, filled from the metadata files of a snapshot."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from catalog.index.in_place import keep_repeats, view_queries
from catalog.index.precedence import WITH_ARCHITECTURE, precedence
from catalog.index.spill import spill_folder
from catalog.quoting import identifier, literal
from catalog.schema import MEASURES, empty
from catalog.storage.manifest import Manifest
from catalog.storage.measures import newest_sql, shown_sql
from catalog.storage.metadata import metadata_source

_MAIN = ("weights", "checkpoints", "measures", "tombstones", "tensors")
"""Kinds of files by priority; the first that a shard has is its main file."""

STORED = ("runs", "checkpoints", "tensors", "chunks")
"""Metadata tables that are copied into the index; the others stay in Parquet."""

BATCH = 2_000_000
"""Rows of `models` to join and sort at a time, which bounds memory."""

Connection = duckdb.DuckDBPyConnection


def connect(path: str | Path = ":memory:") -> Connection:
    """Open a connection without DuckDB's progress bar, ``.tmp`` folder and downloads.

    By default DuckDB draws a progress bar into the output of a command when a query takes
    seconds, spills to the current folder, and downloads extensions that a file seems to
    need.

    Parameters
    ----------
    path : str or Path, default=":memory:"
        Database file, or a database in memory.
    """
    # Absolute, as DuckDB reads text before a colon as the kind of database.
    address = str(path) if path == ":memory:" else str(Path(path).absolute())
    connection = duckdb.connect(address)
    for statement in (
        "SET enable_progress_bar_print = false",
        f"SET temp_directory = {literal(spill_folder())}",
        "SET autoinstall_known_extensions = false",
        "SET autoload_known_extensions = false",
    ):
        connection.execute(statement)
    return connection


@contextlib.contextmanager
def filling(connection: Connection, path: str | Path, name: str) -> Iterator[Connection]:
    """Attach a database for statements that change it, and detach it after the block.

    This takes a fifth of the time of opening the database with a new connection.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Connection to attach the database to.
    path : str or Path
        Database file, or ":memory:".
    name : str
        Name of the attached database.

    Yields
    ------
    duckdb.DuckDBPyConnection
        Cursor that uses the database by default.
    """
    address = str(path) if path == ":memory:" else str(Path(path).absolute())
    attached = connection.cursor()
    attached.execute(f"ATTACH {literal(address)} AS {name} (TYPE duckdb)")
    try:
        attached.execute(f"USE {name}")
        yield attached
    finally:
        with contextlib.suppress(duckdb.Error):
            attached.execute("ROLLBACK")  # an unfinished transaction
        attached.close()
        connection.execute(f"DETACH {name}")


def build_index(
    connection: Connection,
    root: Path,
    manifests: Sequence[Manifest],
    *,
    in_place: bool = False,
) -> None:
    """Fill an empty database from the metadata files of the manifests.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        The empty database.
    root : Path
        The catalogue's folder.
    manifests : sequence of Manifest
        Manifests of a snapshot.
    in_place : bool, default=False
        Whether to leave out the tables ``checkpoints`` and ``models``, for which
        `views_in_place` returns views.

    Raises
    ------
    ShardCorrupt
        If a metadata file is missing or is not the one that was committed.
    duckdb.Error
        If DuckDB cannot combine the committed tables.
    """
    shards_table(connection, manifests, "CREATE TABLE shards AS")
    for table in STORED:
        if not in_place or table != "checkpoints":
            _copy(connection, root, manifests, table)
    source = "checkpoints"
    if in_place:
        source = metadata_source(root, manifests, "checkpoints")
    _remove_tombstoned(connection, root, manifests, source)
    if in_place:
        keep_repeats(connection, source)
    _keep_first_commits(connection, in_place)
    measures = [m for m in manifests if m.content == "measures"]
    columns = measure_columns(measures)
    newest = "SELECT NULL::VARCHAR AS run_id, NULL::BIGINT AS step WHERE false"
    connection.execute(f"CREATE TABLE pz_waiting AS {newest}")
    if columns:
        packs = [m for m in manifests if m.content == "pack"]
        measure_rows(connection, root, [*measures, *packs])
        if not in_place:
            keep_waiting(connection)
        newest = newest_sql("measure_rows", columns)
    newest = _with_documented(connection, newest, columns, source)
    connection.execute(f"CREATE TABLE pz_newest AS {newest}")
    connection.execute("DROP TABLE IF EXISTS measure_rows")
    if not in_place:
        _fill_models(connection, manifests)
        connection.execute("DROP TABLE pz_newest")


def views_in_place(
    connection: Connection, root: Path, manifests: Sequence[Manifest]
) -> dict[str, str]:
    """Return queries for the views that replace the big tables of an in-place index.

    Raises
    ------
    ShardCorrupt
        If a file of checkpoints is missing or has another size than committed.
    """
    # The hashes of the files were checked when the index was built.
    source = metadata_source(root, manifests, "checkpoints", hashed=False)
    return view_queries(connection, source)


def _with_documented(
    connection: Connection, newest: str, columns: Sequence[str], checkpoints: str
) -> str:
    """Return a query for the newest measures, with all documented columns first.

    A documented column that was never measured is null, so that it keeps its position when
    it is measured later. It is left out if runs or checkpoints have a column of that name,
    because ``models`` already has that column.
    """
    taken = {
        spelling(row[0])
        for table in ("runs", checkpoints)
        for row in connection.execute(f"DESCRIBE FROM {table}").fetchall()
    }
    kinds = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {newest}").fetchall()}
    measured = {}
    for result_column in columns:
        value = identifier(result_column)
        shown_value = shown_sql(result_column, value, kinds[result_column])
        measured[spelling(result_column)] = f"{shown_value} AS {value}"
    listed = []
    for column in MEASURES:
        name = spelling(column.name)
        if name in measured:
            listed.append(measured.pop(name))
        elif name not in taken:
            kind = "VARCHAR" if column.type == pa.string() else "DOUBLE"
            listed.append(f"NULL::{kind} AS {column.name}")
    listed += measured.values()
    return f"SELECT {', '.join(['run_id', 'step', *listed])} FROM ({newest})"


def _fill_models(connection: Connection, manifests: Sequence[Manifest]) -> None:
    """Create ``models`` in batches of whole shards, as one sort would not fit in memory."""
    batch = "SELECT * FROM checkpoints WHERE rowid >= {} AND rowid < {}"
    ids = f"run_id IN (SELECT run_id FROM ({batch}))"
    select = f"""SELECT {WITH_ARCHITECTURE}, c.* EXCLUDE (run_id),
            m.* EXCLUDE (run_id, step)
        FROM ({batch}) c JOIN (FROM runs WHERE {ids}) r USING (run_id)
        JOIN shards s USING (shard)
        LEFT JOIN (FROM pz_newest WHERE {ids}) m USING (run_id, step)
        ORDER BY s.sequence, s.sha256, c.row, c.run_id, c.step"""
    verb = "CREATE TABLE models AS"
    for first, last in _batches(connection, manifests):
        connection.execute(f"{verb} {select.format(*[first, last] * 3)}")
        verb = "INSERT INTO models"


def _batches(
    connection: Connection, manifests: Sequence[Manifest]
) -> list[tuple[int, int]]:
    """Return ranges of rows of ``checkpoints`` that may be sorted one after the other."""
    kind = "checkpoints"
    rows = [(m.sequence, m.own[kind].rows) for m in manifests if kind in m.own]
    total = connection.execute("SELECT count(*) FROM checkpoints").fetchall()[0][0]
    if sum(count for _, count in rows) != total:
        return [(0, total)]  # repeated rows were dropped, so the order differs
    ranges, first, last = [], 0, 0
    for i, (sequence, count) in enumerate(rows):
        if last - first >= BATCH and sequence != rows[i - 1][0]:
            ranges.append((first, last))
            first = last
        last += count
    return [*ranges, (first, last)]


def _copy(
    connection: Connection, root: Path, manifests: Sequence[Manifest], table: str
) -> None:
    """Copy one kind of metadata into a table of the index."""
    source = metadata_source(root, manifests, table, origin=table == "runs")
    if not source:
        connection.register("_empty", empty(table))
        connection.execute(f"CREATE TABLE {table} AS SELECT * FROM _empty")
        connection.unregister("_empty")
        return
    connection.execute(f"CREATE TABLE {table} AS FROM {source}")


def _remove_tombstoned(
    connection: Connection, root: Path, manifests: Sequence[Manifest], checkpoints: str
) -> None:
    """Drop checkpoints that were removed after their commit, and runs left without any.

    A removed checkpoint that is committed again exists again. Removed rows of a table are
    deleted; removed rows that stay in Parquet are listed in ``pz_removed``.
    """
    connection.execute(
        "CREATE TABLE pz_removed (shard VARCHAR, run_id VARCHAR, step BIGINT)"
    )
    tombstones = metadata_source(root, manifests, "tombstones", origin=True)
    if not tombstones:
        return
    connection.execute(
        f"""INSERT INTO pz_removed SELECT c.shard, c.run_id, c.step
        FROM {checkpoints} c JOIN shards s USING (shard) JOIN (
            SELECT t.run_id, t.step, max(ts.sequence) AS sequence
            FROM {tombstones} t JOIN shards ts ON ts.shard = t.pz_shard
            GROUP BY ALL) r USING (run_id, step)
        WHERE s.sequence < r.sequence"""
    )
    remaining = f"{checkpoints} ANTI JOIN pz_removed USING (shard, run_id, step)"
    connection.execute(
        f"""DELETE FROM runs WHERE run_id IN (SELECT run_id FROM pz_removed) AND
        (pz_shard, run_id) NOT IN (SELECT (shard, run_id) FROM {remaining})"""
    )
    if checkpoints == "checkpoints":
        connection.execute(f"CREATE OR REPLACE TABLE checkpoints AS FROM {remaining}")
        connection.execute("DELETE FROM pz_removed")


def _keep_first_commits(connection: Connection, in_place: bool) -> None:
    """Keep the commit that counts of what was committed twice; see `precedence`."""
    for table, key, shard in (
        ("runs", "run_id", "pz_shard"),
        ("checkpoints", "run_id, step", "shard"),
        ("tensors", "arch_id, position", None),
    ):
        columns = f"DISTINCT ON ({key}) t.*" if shard else "DISTINCT t.*"
        if in_place and table == "checkpoints":
            continue
        exclude = " EXCLUDE (pz_shard)" if table == "runs" else ""
        # A collision of hashes only costs the query below, which then finds no repeats.
        total, distinct = connection.execute(
            f"SELECT count(*), count(DISTINCT hash({key})) FROM {table}"
        ).fetchall()[0]
        if total == distinct:
            if table == "runs":
                connection.execute("ALTER TABLE runs DROP COLUMN IF EXISTS pz_shard")
            continue
        order = (
            f"JOIN shards s ON s.shard = t.{shard} ORDER BY {key}, {precedence('s')}"
            if shard
            else ""
        )
        connection.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT *{exclude} FROM "
            f"(SELECT {columns} FROM {table} t {order})"
        )


def shards_table(connection: Connection, manifests: Sequence[Manifest], verb: str) -> None:
    """Add a row per shard to ``shards``; ``verb`` is SQL that creates or extends it."""
    rows = []
    for manifest in manifests:
        kind = next(k for k in _MAIN if k in manifest.files)
        file = manifest.files[kind]
        rows.append(
            {
                "shard": manifest.shard,
                "content": manifest.content,
                "sequence": manifest.sequence,
                "created": manifest.created,
                "writer": manifest.writer,
                "arch_id": manifest.arch_id,
                "layout_id": manifest.layout_id,
                "path": manifest.own[kind].path if kind in manifest.own else None,
                "rows": file.rows,
                "bytes": file.bytes,
                "sha256": file.sha256,
                "partial": manifest.partial.shard if manifest.partial else None,
            }
        )
    table = pa.Table.from_pylist(rows, schema=empty("shards").schema)
    connection.register("_rows", table)
    connection.execute(f"{verb} SELECT * FROM _rows")
    connection.unregister("_rows")


def measure_rows(connection: Connection, root: Path, manifests: Sequence[Manifest]) -> None:
    """Create the table ``measure_rows``: measures with the rank of their commit."""
    source = metadata_source(root, manifests, "measures", origin=True)
    ordered = sorted(manifests, key=lambda m: m.order)
    ranks = pa.table(
        {
            "pz_shard": [m.shard for m in ordered],
            "pz_rank": pa.array(range(len(ordered)), pa.int32()),
        }
    )
    connection.register("_ranks", ranks)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE measure_rows AS "
        "SELECT f.* EXCLUDE (pz_shard, measure, measure_id, provenance), k.pz_rank "
        f"FROM {source} f JOIN _ranks k USING (pz_shard)"
    )
    connection.unregister("_ranks")


def keep_waiting(connection: Connection) -> None:
    """Store the checkpoints of ``measure_rows`` that are not committed yet."""
    connection.execute(
        "INSERT INTO pz_waiting SELECT run_id, step FROM measure_rows "
        "ANTI JOIN checkpoints USING (run_id, step)"
    )


def measure_columns(measures: Sequence[Manifest]) -> list[str]:
    """Return the result columns, each in the spelling of its first commit.

    SQL ignores case, so columns that differ in case alone are one column.
    """
    by_spelling: dict[bytes, str] = {}
    for manifest in measures:
        for column in manifest.measure_columns:
            by_spelling.setdefault(spelling(column), column)
    return list(by_spelling.values())


def spelling(column: str) -> bytes:
    """Return the key by which SQL compares names, with ASCII letters in lower case."""
    return column.encode().lower()


def tables_of(connection: Connection) -> set[str]:
    """Return the tables of a database; an in-place index lacks the big ones."""
    query = (
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
    )
    return {row[0] for row in connection.execute(query).fetchall()}
