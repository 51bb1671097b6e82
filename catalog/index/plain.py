"""Check that an index holds the expected tables and no other object.

A catalogue that was copied or downloaded comes with its cache, so others may have written
the index. A macro called ``max``, or a view in place of a table, would run its code within
our statements, whereas numbers in a table are only read.
"""

from __future__ import annotations

import duckdb

from catalog.quoting import literal

_STORED = frozenset((
    "shards", "runs", "checkpoints", "tensors", "chunks", "models", "pz_removed",
    "pz_waiting",
))  # fmt: skip
_IN_PLACE = _STORED - {"checkpoints", "models"} | {"pz_repeats", "pz_newest"}

_FORBIDDEN = (
    "functions", "views", "sequences", "indexes", "constraints", "triggers",
    "coordinate_systems",
)  # fmt: skip
"""Kinds of objects that an index must not have."""

_TYPES_QUERY = (
    "SELECT schema_name, type_name, logical_type, type_category, internal "
    "FROM system.main.duckdb_types() WHERE database_name = "
)
_EMPTY = "pz_empty"


def only_tables(connection: duckdb.DuckDBPyConnection, database: str) -> bool:
    """Return whether an attached database has the tables of an index and nothing else.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Connection that the database is attached to.
    database : str
        Name of the database. It must not be in the search path of the connection, or the
        functions called here would be looked up in it.

    Raises
    ------
    duckdb.Error
        If the database cannot be read.
    """
    where = f"WHERE database_name = {literal(database)}"
    counts = ", ".join(
        f"(SELECT count(*) FROM system.main.duckdb_{kind}() {where})" for kind in _FORBIDDEN
    )
    if any(connection.execute(f"SELECT {counts}").fetchall()[0]):
        return False
    listed = f"SELECT schema_name, table_name FROM system.main.duckdb_tables() {where}"
    tables = connection.execute(listed).fetchall()
    if {table for _, table in tables} not in (_STORED, _IN_PLACE):
        return False
    schemas = connection.execute(
        f"SELECT schema_name FROM system.main.duckdb_schemas() {where}"
    ).fetchall()
    if {*schemas, *((schema,) for schema, _ in tables)} != {("main",)}:
        return False
    # Columns come last, because listing the columns of a view runs a part of it.
    special_columns = connection.execute(
        f"SELECT count(*) FROM system.main.duckdb_columns() {where} AND (is_generated "
        "OR generation_expression IS NOT NULL OR column_default IS NOT NULL "
        "OR NOT is_nullable)"
    ).fetchall()[0][0]
    return not special_columns and _has_default_types(connection, database)


def _has_default_types(connection: duckdb.DuckDBPyConnection, database: str) -> bool:
    """Return whether a database has the types of an empty database and no others."""
    connection.execute(f"ATTACH ':memory:' AS {_EMPTY}")
    try:
        expected, actual = (
            sorted(map(repr, connection.execute(_TYPES_QUERY + literal(name)).fetchall()))
            for name in (_EMPTY, database)
        )
    finally:
        connection.execute(f"DETACH {_EMPTY}")
    return expected == actual
