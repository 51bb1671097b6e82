"""Syntax trees of statements as plain values, from DuckDB's own parser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from catalog.errors import CatalogError

Tree = dict[str, Any]


def trees(connection: duckdb.DuckDBPyConnection, text: str) -> list[Tree] | None:
    """Parse a text without running it.

    Returns
    -------
    list of dict, optional
        Root node of every statement; None if DuckDB shows no tree. It shows none for
        statements other than SELECT, for EXPLAIN, and for PIVOT without its values.

    Raises
    ------
    duckdb.Error
        If the text is not SQL.
    CatalogError
        If the text nests too deeply.
    """
    query = "SELECT json_serialize_sql(?::VARCHAR)"
    serialized = connection.execute(query, [text]).fetchall()[0][0]
    try:
        value = json.loads(serialized)
    except RecursionError as error:
        raise CatalogError(
            "The SQL nests too deeply; one chain may have about 300 operators. Split it "
            "with WITH, or write values as a list: IN (...)."
        ) from error
    if value["error"]:
        connection.extract_statements(text)  # raises with DuckDB's own explanation
        return None
    return [statement["node"] for statement in value["statements"]]


def nodes(tree: Any) -> Iterator[Tree]:
    """Yield every node of a tree, with its root, in no particular order."""
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield item
            pending += item.values()
        elif isinstance(item, list):
            pending += item


def without_places(tree: Any) -> Any:
    """Return a tree without the positions of its nodes in the text."""
    if isinstance(tree, dict):
        return {
            key: without_places(value)
            for key, value in tree.items()
            if not key.startswith("query_location")
        }
    return [without_places(item) for item in tree] if isinstance(tree, list) else tree
