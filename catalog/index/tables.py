"""The tables of the index, filled from the metadata files of a snapshot."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from catalog.index.in_place import keep_repeats, view_queries
from catalog.index.spill import spill_folder
from catalog.quoting import identifier, literal
from catalog.schema import MEASURES, empty
from catalog.storage.manifest import Manifest
from catalog.storage.measures import newest_sql, shown_sql
from catalog.storage.metadata import metadata_source

_MAIN = ("weights", "checkpoints", "measures", "tombstones", "tensors")
"""The main file of a shard is the first of these kinds that it has."""

STORED = ("runs", "checkpoints", "tensors", "chunks")
"""Metadata that is copied into the index; the rest stays in Parquet."""

BATCH = 2_000_000
"""Rows of `models` that are joined and sorted at a time, to bound memory."""

Connection = duckdb.DuckDBPyConnection


def connect(path: str | Path = ":memory:") -> Connection:
    """A connection that writes to no stdout and current folder, and fetches nothing.

    DuckDB draws its own progress bar when a query takes seconds, into the midst of what a
    command prints, and downloads extensions that a file seems to need.
    """
    # Absolute, as DuckDB takes what stands before a colon for the kind of database.
    where = str(path) if path == ":memory:" else str(Path(path).absolute())
    connection = duckdb.connect(where)
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
    """Attach a database of a name, for statements that change it; detach it afterwards.

    A fifth of the time of opening it with a connection of its own.
    """
    where = str(path) if path == ":memory:" else str(Path(path).absolute())
    own = connection.cursor()
    own.execute(f"ATTACH {literal(where)} AS {name} (TYPE duckdb)")
    try:
        own.execute(f"USE {name}")
        yield own
    finally:
        with contextlib.suppress(duckdb.Error):
            own.execute("ROLLBACK")  # what was given up
        own.close()
        connection.execute(f"DETACH {name}")


def build_index(
    connection: Connection,
    root: Path,
    manifests: Sequence[Manifest],
    *,
    in_place: bool = False,
) -> None:
    """Fill an empty database from the metadata files of the manifests.

    With ``in_place`` it gets no ``checkpoints`` and ``models``: `views_in_place` has them.

    Raises
    ------
    ShardCorrupt
        If a metadata file is missing or is not the one that was committed.
    duckdb.Error
        If what was committed does not fit together.
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
    """Queries of the views that stand for the big tables, which such an index lacks.

    Raises
    ------
    ShardCorrupt
        If a file of checkpoints is missing or has another length than committed.
    """
    # Their hashes were checked when the index was built.
    source = metadata_source(root, manifests, "checkpoints", hashed=False)
    return view_queries(connection, source)


def _with_documented(
    connection: Connection, newest: str, columns: Sequence[str], checkpoints: str
) -> str:
    """The newest measures, after the documented ones, which are null if never measured.

    Documented columns come first, so that one that is measured later keeps its place. A
    zoo's own column of that name stays as it is: ``models`` has no second one.
    """
    own = {
        spelling(row[0])
        for table in ("runs", checkpoints)
        for row in connection.execute(f"DESCRIBE FROM {table}").fetchall()
    }
    kinds = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {newest}").fetchall()}
    measured = {}
    for own_name in columns:
        value = identifier(own_name)
        shown = shown_sql(own_name, value, kinds[own_name])
        measured[spelling(own_name)] = f"{shown} AS {value}"
    listed = []
    for column in MEASURES:
        name = spelling(column.name)
        if name in measured:
            listed.append(measured.pop(name))
        elif name not in own:
            kind = "VARCHAR" if column.type == pa.string() else "DOUBLE"
            listed.append(f"NULL::{kind} AS {column.name}")
    listed += measured.values()
    return f"SELECT {', '.join(['run_id', 'step', *listed])} FROM ({newest})"


def _fill_models(connection: Connection, manifests: Sequence[Manifest]) -> None:
    """Make ``models``, a batch of whole shards at a time: one sort would not fit."""
    batch = "SELECT * FROM checkpoints WHERE rowid >= {} AND rowid < {}"
    ids = f"run_id IN (SELECT run_id FROM ({batch}))"
    select = f"""SELECT r.*, c.* EXCLUDE (run_id), m.* EXCLUDE (run_id, step)
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
    """Ranges of rows of ``checkpoints`` that may be sorted one after the other."""
    kind = "checkpoints"
    rows = [(m.sequence, m.own[kind].rows) for m in manifests if kind in m.own]
    total = connection.execute("SELECT count(*) FROM checkpoints").fetchall()[0][0]
    if sum(count for _, count in rows) != total:
        return [(0, total)]  # some came twice: the table is in another order
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
    """Drop what was removed after it was committed, and runs that have nothing left.

    A removed checkpoint that is committed again, exists again. Rows that stay in
    Parquet are listed in ``pz_removed``, those of a table are deleted.
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
    left = f"{checkpoints} ANTI JOIN pz_removed USING (shard, run_id, step)"
    connection.execute(
        f"""DELETE FROM runs WHERE run_id IN (SELECT run_id FROM pz_removed) AND
        (pz_shard, run_id) NOT IN (SELECT (shard, run_id) FROM {left})"""
    )
    if checkpoints == "checkpoints":
        connection.execute(f"CREATE OR REPLACE TABLE checkpoints AS FROM {left}")
        connection.execute("DELETE FROM pz_removed")


def _keep_first_commits(connection: Connection, in_place: bool) -> None:
    """Of equal runs, checkpoints and tensors committed twice, keep the first."""
    for table, key, shard in (
        ("runs", "run_id", "pz_shard"),
        ("checkpoints", "run_id, step", "shard"),
        ("tensors", "arch_id, position", None),
    ):
        columns = f"DISTINCT ON ({key}) t.*" if shard else "DISTINCT t.*"
        if in_place and table == "checkpoints":
            continue
        exclude = " EXCLUDE (pz_shard)" if table == "runs" else ""
        # Equal hashes of unequal keys only cost the query that then looks for repeats.
        total, distinct = connection.execute(
            f"SELECT count(*), count(DISTINCT hash({key})) FROM {table}"
        ).fetchall()[0]
        if total == distinct:
            if table == "runs":
                connection.execute("ALTER TABLE runs DROP COLUMN IF EXISTS pz_shard")
            continue
        order = (
            f"JOIN shards s ON s.shard = t.{shard} ORDER BY {key}, s.sequence, s.sha256"
            if shard
            else ""
        )
        connection.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT *{exclude} FROM "
            f"(SELECT {columns} FROM {table} t {order})"
        )


def shards_table(connection: Connection, manifests: Sequence[Manifest], verb: str) -> None:
    """Put a row for every shard into ``shards``; the verb makes it or inserts."""
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
            }
        )
    table = pa.Table.from_pylist(rows, schema=empty("shards").schema)
    connection.register("_rows", table)
    connection.execute(f"{verb} SELECT * FROM _rows")
    connection.unregister("_rows")


def measure_rows(connection: Connection, root: Path, manifests: Sequence[Manifest]) -> None:
    """Measures with the rank of their commit, as table ``measure_rows``."""
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
    """Remember which checkpoints of ``measure_rows`` have not come yet."""
    connection.execute(
        "INSERT INTO pz_waiting SELECT run_id, step FROM measure_rows "
        "ANTI JOIN checkpoints USING (run_id, step)"
    )


def measure_columns(measures: Sequence[Manifest]) -> list[str]:
    """Result columns in the spelling of their first commit, as SQL ignores case."""
    spelled: dict[bytes, str] = {}
    for manifest in measures:
        for column in manifest.measure_columns:
            spelled.setdefault(spelling(column), column)
    return list(spelled.values())


def spelling(column: str) -> bytes:
    """What SQL compares: the name with the case of ASCII letters ignored."""
    return column.encode().lower()


def tables_of(connection: Connection) -> set[str]:
    """Tables that a database has: an index in place lacks the big ones."""
    query = (
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
    )
    return {row[0] for row in connection.execute(query).fetchall()}
