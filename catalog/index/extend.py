"""Extension of an existing index by new shards, with the same result as a rebuild."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catalog.index.in_place import merge_newest
from catalog.index.precedence import WITH_ARCHITECTURE
from catalog.index.tables import (
    STORED,
    Connection,
    build_index,
    filling,
    keep_waiting,
    measure_columns,
    measure_rows,
    shards_table,
    spelling,
    tables_of,
)
from catalog.quoting import identifier
from catalog.storage.folder import Folder
from catalog.storage.manifest import Manifest
from catalog.storage.measures import newest_sql, shown_sql


def extend(connection: Connection, folder: Folder, added: Sequence[Manifest]) -> bool:
    """Add shards to an existing index; return False if a rebuild is needed instead.

    A rebuild is needed if a new shard removes or packs others, repeats a known run (the
    first commit wins), has columns or types that the tables lack, holds a checkpoint that
    was measured before it was committed, or was committed before a shard of the index. A
    rebuild is also needed if one shard has a column in runs that another has in
    checkpoints, as ``models`` then renames one of them.
    """
    newest = connection.execute("SELECT coalesce(max(sequence), -1) FROM shards")
    last = newest.fetchall()[0][0]
    if any(m.sequence <= last for m in added):
        return False
    if any(m.content in ("tombstones", "pack") for m in added):
        return False
    root = folder.root
    rows = [m for m in added if m.content != "measures"]
    measures = [m for m in added if m.content == "measures"]
    tables = tables_of(connection)
    with filling(connection, ":memory:", "pz_scratch") as scratch:
        build_index(scratch, root, rows)
        fresh = {t: scratch.sql(f"FROM {t}").to_arrow_table() for t in STORED}
    for table, values in fresh.items():
        connection.register(f"_{table}", values)
        if table not in tables:
            continue
        if not _types(connection, f"_{table}").items() <= _types(connection, table).items():
            return False
    checkpoints = "checkpoints" if "checkpoints" in tables else "_checkpoints"

    def names_of(table: str) -> set[bytes]:
        return {*map(spelling, _types(connection, table))}

    if names_of("runs") & names_of(checkpoints) != {b"run_id"}:
        return False
    if "models" not in tables:
        # Otherwise the view `models` would have two columns of the same name.
        new_columns = {*names_of("_runs"), *names_of("_checkpoints")} - {b"run_id", b"step"}
        if new_columns & names_of("pz_newest"):
            return False
    for overlap in (
        "_runs JOIN runs USING (run_id)",
        "_checkpoints JOIN pz_waiting USING (run_id, step)",
    ):
        if connection.execute(f"SELECT count(*) FROM {overlap}").fetchall()[0][0]:
            return False
    connection.execute("BEGIN")
    shards_table(connection, added, "INSERT INTO shards")
    for table in STORED:
        filter_sql = (
            ""
            if table != "tensors"
            else " WHERE arch_id NOT IN (SELECT arch_id FROM tensors)"
        )
        if table in tables:
            connection.execute(
                f"INSERT INTO {table} BY NAME SELECT * FROM _{table}{filter_sql}"
            )
    if "models" in tables:
        connection.execute(
            f"INSERT INTO models BY NAME SELECT {WITH_ARCHITECTURE}, "
            "c.* EXCLUDE (run_id) "
            "FROM _checkpoints c JOIN _runs r USING (run_id) JOIN shards s USING (shard) "
            "ORDER BY s.sequence, s.sha256, c.row, c.run_id, c.step"
        )
    if measures and not _update_models(connection, root, measures):
        return False
    connection.execute("COMMIT")
    for table in STORED:
        connection.unregister(f"_{table}")
    return True


def _update_models(
    connection: Connection, root: Path, measures: Sequence[Manifest]
) -> bool:
    """Write new measures into `models` or `pz_newest`; return False if types differ."""
    columns = measure_columns(measures)
    measure_rows(connection, root, measures)
    if "models" not in tables_of(connection):
        quotes = list(map(identifier, columns))
        return merge_newest(connection, newest_sql("measure_rows", columns), quotes)
    types, known = _types(connection, "measure_rows"), _types(connection, "models")
    fixed = {**_types(connection, "runs"), **_types(connection, "checkpoints")}
    by_spelling = {spelling(name): name for name in known}
    for column in columns:
        known_name = by_spelling.get(spelling(column), column)
        if (
            known_name != column
            or known_name in fixed
            or known.get(known_name, types[known_name]) != types[known_name]
        ):
            return False
    for column in columns:
        if column not in known:
            connection.execute(
                f"ALTER TABLE models ADD COLUMN {identifier(column)} {types[column]}"
            )
    names = {c: identifier(c) for c in columns}
    values = {c: f"coalesce(m.{name}, models.{name})" for c, name in names.items()}
    sets = ", ".join(
        f"{names[c]} = {shown_sql(c, value, types[c])}" for c, value in values.items()
    )
    connection.execute(
        f"UPDATE models SET {sets} FROM ({newest_sql('measure_rows', columns)}) m "
        "WHERE models.run_id = m.run_id AND models.step = m.step"
    )
    keep_waiting(connection)
    connection.execute("DROP TABLE measure_rows")
    return True


def _types(connection: Connection, table: str) -> dict[str, str]:
    """Return the columns of a table with their SQL types."""
    described = connection.execute(f"DESCRIBE {table}").fetchall()
    return {name: kind for name, kind, *_ in described}
