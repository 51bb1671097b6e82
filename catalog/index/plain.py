"""The check that an index holds tables and nothing else, as one of our own does.

A cache comes with a catalogue that was copied or downloaded, so others may have made it. A
macro called ``max``, or a view in place of a table, would run whatever it says within our
statements; numbers in a table are only read.
"""

from __future__ import annotations

import duckdb

from catalog.quoting import literal

_STORED = frozenset((
    "shards", "runs", "checkpoints", "tensors", "chunks", "models", "pz_removed",
    "pz_waiting",
))  # fmt: skip
_IN_PLACE = _STORED - {"checkpoints", "models"} | {"pz_repeats", "pz_newest"}

_NONE = (
    "functions", "views", "sequences", "indexes", "constraints", "triggers",
    "coordinate_systems",
)  # fmt: skip
"""Kinds of objects of which an index has none."""

_TYPES = (
    "SELECT schema_name, type_name, logical_type, type_category, internal "
    "FROM system.main.duckdb_types() WHERE database_name = "
)
_EMPTY = "pz_empty"


def only_tables(connection: duckdb.DuckDBPyConnection, database: str) -> bool:
    """Tell if an attached database has the tables of an index, and no other object.

    Parameters
    ----------
    database : str
        A name that is not in the search path of the connection, as what is called here
        would else be looked for in it.

    Raises
    ------
    duckdb.Error
        If it cannot be read.
    """
    of = f"WHERE database_name = {literal(database)}"
    counts = ", ".join(
        f"(SELECT count(*) FROM system.main.duckdb_{kind}() {of})" for kind in _NONE
    )
    if any(connection.execute(f"SELECT {counts}").fetchall()[0]):
        return False
    listed = f"SELECT schema_name, table_name FROM system.main.duckdb_tables() {of}"
    tables = connection.execute(listed).fetchall()
    if {table for _, table in tables} not in (_STORED, _IN_PLACE):
        return False
    schemas = connection.execute(
        f"SELECT schema_name FROM system.main.duckdb_schemas() {of}"
    ).fetchall()
    if {*schemas, *((schema,) for schema, _ in tables)} != {("main",)}:
        return False
    # Columns come last: to list those of a view runs a part of it.
    computed = connection.execute(
        f"SELECT count(*) FROM system.main.duckdb_columns() {of} AND (is_generated "
        "OR generation_expression IS NOT NULL OR column_default IS NOT NULL "
        "OR NOT is_nullable)"
    ).fetchall()[0][0]
    return not computed and _types(connection, database)


def _types(connection: duckdb.DuckDBPyConnection, database: str) -> bool:
    """Tell if a database has the types that every one has."""
    connection.execute(f"ATTACH ':memory:' AS {_EMPTY}")
    try:
        known, found = (
            sorted(map(repr, connection.execute(_TYPES + literal(name)).fetchall()))
            for name in (_EMPTY, database)
        )
    finally:
        connection.execute(f"DETACH {_EMPTY}")
    return known == found
