"""Casts of answers to types that their destination represents exactly.

Arrow, Python and JSON lack some types of DuckDB or some of their values: dates before year
1, infinite dates, 24:00, times with offsets, bits, and integers of 128 bits. For people and
JSON the query itself casts such a column to DuckDB's text, except integers, which stay
numbers. For Arrow and Parquet a value that does not fit is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
from duckdb.sqltypes import DuckDBPyType

from catalog.quoting import identifier

Reader = Callable[[Any], Any]

_EXACT = frozenset((
    "boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint",
    "uinteger", "ubigint", "float", "double", "varchar", "decimal", "uuid", "enum", "blob",
    "null",
))  # fmt: skip
"""Types whose values Python represents exactly."""

_OPAQUE = frozenset(("time with time zone", "bit", "bignum", "variant"))
"""Types that Arrow lacks, or has in a form that no other tool reads."""

_INTEGERS = ("hugeint", "uhugeint")
_ALL = 1 << 60
"""Limit above any number of rows; it makes DuckDB rename duplicate columns."""

_LISTS, _STRUCTS = ("list", "array"), ("struct", "tuple", "union")


def as_text(
    relation: duckdb.DuckDBPyRelation,
) -> tuple[duckdb.DuckDBPyRelation, Reader]:
    """Cast a relation to JSON types or text, and return it with a reader of its rows.

    Returns
    -------
    relation : duckdb.DuckDBPyRelation
        Relation whose Arrow tables have only types that Python represents exactly.
    read : callable
        Function that converts a row of such a table, given as a dictionary. Integers that
        were cast to text are integers again, and maps are dictionaries with text keys.
    """
    relation = relation.limit(_ALL)
    kinds = dict(zip(relation.columns, relation.types, strict=True))
    readers = {
        name: column_reader
        for name, kind in kinds.items()
        if (column_reader := _reader(kind))
    }

    def read(row: dict[str, Any]) -> dict[str, Any]:
        return row | {name: reader(row[name]) for name, reader in readers.items()}

    columns = _cast(relation.columns, relation.types, _text_type)
    return (relation.project(columns) if columns else relation), read


def as_arrow(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Cast a relation to types that Arrow has.

    Integers of 128 bits become decimals of 38 digits, and types that Arrow lacks become
    text. Reading the relation fails if a value does not fit its type.
    """
    if not _cast(relation.columns, relation.types, _arrow_type):
        return relation
    relation = relation.limit(_ALL)
    return relation.project(_cast(relation.columns, relation.types, _arrow_type))


def _cast(
    names: list[str], kinds: list[DuckDBPyType], target: Callable[[DuckDBPyType], str]
) -> str:
    """Return SQL that casts columns to their target types; empty if none changes."""
    columns, changed = [], False
    for name, kind in zip(map(identifier, names), kinds, strict=True):
        wanted = target(kind)
        unchanged = wanted == str(kind)
        changed |= not unchanged
        columns.append(name if unchanged else f"CAST({name} AS {wanted}) AS {name}")
    return ", ".join(columns) if changed else ""


def _text_type(kind: DuckDBPyType) -> str:
    """Return the SQL type for values in Python; keys of maps are text, as in JSON."""
    return _target(
        kind, lambda part: str(part) if part.id in _EXACT else "VARCHAR", "VARCHAR"
    )


def _arrow_type(kind: DuckDBPyType) -> str:
    """Return the SQL type for values in Arrow."""

    def leaf(part: DuckDBPyType) -> str:
        if part.id in _INTEGERS:
            return "DECIMAL(38,0)"
        return "VARCHAR" if part.id in _OPAQUE else str(part)

    return _target(kind, leaf)


def _target(
    kind: DuckDBPyType, leaf: Callable[[DuckDBPyType], str], key: str | None = None
) -> str:
    """Return SQL for a type with parts mapped by ``leaf``, and keys of maps as ``key``."""
    children = dict(_parts(kind)) if kind.id in (*_LISTS, "map") else {}
    if kind.id in _LISTS:
        size = children.get("size", "")
        return f"{_target(children['child'], leaf, key)}[{size}]"
    if kind.id == "map":
        value = _target(children["value"], leaf, key)
        return f"MAP({key or _target(children['key'], leaf)}, {value})"
    if kind.id not in _STRUCTS:
        return leaf(kind)
    parts = [(name, _target(part_kind, leaf, key)) for name, part_kind in _parts(kind)]
    if kind.id == "tuple":
        return f"TUPLE({', '.join(part for _, part in parts)})"
    if kind.id == "union":
        parts = parts[1:]  # without the tag
    return f"{kind.id.upper()}({', '.join(f'{identifier(n)} {part}' for n, part in parts)})"


def _reader(kind: DuckDBPyType) -> Reader | None:
    """Return a function that restores values cast to text; None if no part was cast."""
    if kind.id in _INTEGERS:
        return lambda value: None if value is None else int(value)
    if kind.id in _LISTS:
        inner = _reader(dict(_parts(kind))["child"])
        return inner and (lambda value: value and [inner(item) for item in value])
    if kind.id == "map":
        read_value = _reader(dict(_parts(kind))["value"]) or (lambda value: value)
        return lambda value: None if value is None else {k: read_value(v) for k, v in value}
    if kind.id in ("struct", "tuple"):
        readers = [_reader(item) for _, item in _parts(kind)]
        if not any(readers):
            return None

        def read(value: Any) -> Any:
            return value and {
                name: reader(item) if reader else item
                for (name, item), reader in zip(value.items(), readers, strict=True)
            }

        return read
    return None


def _parts(kind: DuckDBPyType) -> list[tuple[str, Any]]:
    """Return names and types of the parts of a nested type, and the size of an array."""
    parts: list[tuple[str, Any]] = kind.children
    return parts
