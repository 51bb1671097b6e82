"""Statements as trees of plain values: what DuckDB's own parser makes of a text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from catalog.errors import CatalogError

Tree = dict[str, Any]


def trees(connection: duckdb.DuckDBPyConnection, text: str) -> list[Tree] | None:
    """Parse a text, without running anything.

    Returns
    -------
    list of dict, optional
        The root node of every statement; None if DuckDB shows no tree, as of all that
        are no SELECT, of EXPLAIN, and of PIVOT without its values.

    Raises
    ------
    duckdb.Error
        If the text is no SQL.
    CatalogError
        If it nests too deeply.
    """
    query = "SELECT json_serialize_sql(?::VARCHAR)"
    found = connection.execute(query, [text]).fetchall()[0][0]
    try:
        value = json.loads(found)
    except RecursionError as error:
        raise CatalogError(
            "The SQL nests too deeply: some 300 operators in one chain are the most. "
            "Split it up with WITH, or give values as a list: IN (...)."
        ) from error
    if value["error"]:
        connection.extract_statements(text)  # raises with DuckDB's own explanation
        return None
    return [statement["node"] for statement in value["statements"]]


def nodes(tree: Any) -> Iterator[Tree]:
    """Every node of a tree, its root included, in no particular order."""
    left = [tree]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield one
            left += one.values()
        elif isinstance(one, list):
            left += one


def without_places(tree: Any) -> Any:
    """The tree without what says where in the text its nodes stand."""
    if isinstance(tree, dict):
        return {
            key: without_places(value)
            for key, value in tree.items()
            if not key.startswith("query_location")
        }
    return [without_places(one) for one in tree] if isinstance(tree, list) else tree
