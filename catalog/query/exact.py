"""Answers in types that their outlet holds exactly.

Arrow, Python and JSON lack types of DuckDB, or hold a part of their values: dates before
year 1 and infinite ones, 24:00, offsets of times, bits, integers of 128 bits. For people
and JSON such a column becomes DuckDB's own text in the query itself, integers stay numbers;
for Arrow and Parquet a value that does not fit is an error.
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
"""Types whose values Python has."""

_OPAQUE = frozenset(("time with time zone", "bit", "bignum", "variant"))
"""Types that Arrow has not, or in a form that nothing else reads."""

_INTEGERS = ("hugeint", "uhugeint")
_ALL = 1 << 60
"""A limit that only renames columns that have one name."""

_LISTS, _STRUCTS = ("list", "array"), ("struct", "tuple", "union")


def as_text(
    relation: duckdb.DuckDBPyRelation,
) -> tuple[duckdb.DuckDBPyRelation, Reader]:
    """Return a relation in types that JSON has or as text, and what reads its rows.

    Returns
    -------
    relation : duckdb.DuckDBPyRelation
        Its Arrow tables have only types whose values Python has.
    read : callable
        Takes a row of such a table as a dictionary; numbers that were sent as text are
        integers again, and a map is a dictionary with texts for keys.
    """
    relation = relation.limit(_ALL)
    kinds = dict(zip(relation.columns, relation.types, strict=True))
    readers = {name: found for name, kind in kinds.items() if (found := _reader(kind))}

    def read(row: dict[str, Any]) -> dict[str, Any]:
        return row | {name: reader(row[name]) for name, reader in readers.items()}

    columns = _cast(relation.columns, relation.types, _text_type)
    return (relation.project(columns) if columns else relation), read


def as_arrow(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Return a relation of which Arrow holds every value, or reading it is an error.

    Integers of 128 bits are decimals of 38 digits; what Arrow has not at all is text.
    """
    if not _cast(relation.columns, relation.types, _arrow_type):
        return relation
    relation = relation.limit(_ALL)
    return relation.project(_cast(relation.columns, relation.types, _arrow_type))


def _cast(
    names: list[str], kinds: list[DuckDBPyType], target: Callable[[DuckDBPyType], str]
) -> str:
    """SQL for columns in the types that they should have; empty if they have them."""
    columns, changed = [], False
    for name, kind in zip(map(identifier, names), kinds, strict=True):
        wanted = target(kind)
        same = wanted == str(kind)
        changed |= not same
        columns.append(name if same else f"CAST({name} AS {wanted}) AS {name}")
    return ", ".join(columns) if changed else ""


def _text_type(kind: DuckDBPyType) -> str:
    """SQL for the type in which values go to Python; keys of maps are texts, as in JSON."""
    return _target(kind, lambda one: str(one) if one.id in _EXACT else "VARCHAR", "VARCHAR")


def _arrow_type(kind: DuckDBPyType) -> str:
    """SQL for the type in which values go to Arrow."""

    def leaf(one: DuckDBPyType) -> str:
        if one.id in _INTEGERS:
            return "DECIMAL(38,0)"
        return "VARCHAR" if one.id in _OPAQUE else str(one)

    return _target(kind, leaf)


def _target(
    kind: DuckDBPyType, leaf: Callable[[DuckDBPyType], str], key: str | None = None
) -> str:
    """SQL for a type whose parts are replaced by what ``leaf`` says, keys by ``key``."""
    children = dict(_parts(kind)) if kind.id in (*_LISTS, "map") else {}
    if kind.id in _LISTS:
        size = children.get("size", "")
        return f"{_target(children['child'], leaf, key)}[{size}]"
    if kind.id == "map":
        value = _target(children["value"], leaf, key)
        return f"MAP({key or _target(children['key'], leaf)}, {value})"
    if kind.id not in _STRUCTS:
        return leaf(kind)
    parts = [(name, _target(one, leaf, key)) for name, one in _parts(kind)]
    if kind.id == "tuple":
        return f"TUPLE({', '.join(part for _, part in parts)})"
    if kind.id == "union":
        parts = parts[1:]  # the tag
    return f"{kind.id.upper()}({', '.join(f'{identifier(n)} {part}' for n, part in parts)})"


def _reader(kind: DuckDBPyType) -> Reader | None:
    """What turns a value that Python got into what it stands for; None if it is that."""
    if kind.id in _INTEGERS:
        return lambda value: None if value is None else int(value)
    if kind.id in _LISTS:
        inner = _reader(dict(_parts(kind))["child"])
        return inner and (lambda value: value and [inner(one) for one in value])
    if kind.id == "map":
        of = _reader(dict(_parts(kind))["value"]) or (lambda value: value)
        return lambda value: None if value is None else {k: of(v) for k, v in value}
    if kind.id in ("struct", "tuple"):
        readers = [_reader(one) for _, one in _parts(kind)]
        if not any(readers):
            return None

        def read(value: Any) -> Any:
            return value and {
                name: reader(one) if reader else one
                for (name, one), reader in zip(value.items(), readers, strict=True)
            }

        return read
    return None


def _parts(kind: DuckDBPyType) -> list[tuple[str, Any]]:
    """Names and types of what a nested type is made of; of an array also its size."""
    parts: list[tuple[str, Any]] = kind.children
    return parts
