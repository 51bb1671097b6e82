"""Conditions and expressions of users and of files: text that becomes a part of a query.

It is put between brackets that it must not leave: the statement is parsed, and its tree
compared with that of a harmless text in the same place.
"""

from __future__ import annotations

from typing import Any

import duckdb

from catalog.errors import CatalogError
from catalog.query.allowed_nodes import check_kinds
from catalog.query.refusal import sql_error
from catalog.query.tree import Tree, trees, without_places

_MODIFIERS = ("ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER")


def condition(connection: duckdb.DuckDBPyConnection, where: str) -> str:
    """Return the query for the rows of `models` that a condition picks.

    Parameters
    ----------
    where : str
        One expression; ORDER BY, LIMIT and OFFSET may follow.

    Raises
    ------
    CatalogError
        If it is anything else.
    """
    query = f"SELECT * FROM models WHERE {where}\n"
    found, known = (
        _tree(connection, f"FROM (SELECT * FROM models WHERE {text}\n) AS pz")
        for text in (where, "true")
    )
    inner = _at(found, "from_table", "subquery", "node")
    plain = _at(known, "from_table", "subquery", "node")
    if inner is not None and inner.get("where_clause") is not None:
        kinds = [modifier["type"] for modifier in inner["modifiers"]]
        if all(kind in _MODIFIERS for kind in kinds):
            plain |= {key: inner[key] for key in ("where_clause", "modifiers")}
    if found != known:
        raise CatalogError(
            f"{where!r} is no condition. Expected one expression over columns of models, "
            'such as "width = 32 AND test_accuracy > 0.9"; ORDER BY, LIMIT and OFFSET may '
            "follow, nothing else."
        )
    check_kinds(found)
    return query


def expression(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """Return an expression over columns of `models`, between brackets that it cannot leave.

    Raises
    ------
    CatalogError
        If it is anything else.
    """
    found, known = (
        _tree(connection, f"SELECT ({one}\n) AS pz FROM models") for one in (text, "true")
    )
    if found and len(found.get("select_list", ())) == 1:
        own = found["select_list"][0]
        if own.get("alias") == "pz" and own.get("class") != "STAR":
            known = {**known, "select_list": [own]}
    if found != known:
        raise CatalogError(
            f"{text!r} is no expression. Expected one value per checkpoint over columns of "
            'models, such as "test_accuracy" or "width > 16", and nothing else.'
        )
    check_kinds(found)
    return f"({text}\n)"


def _tree(connection: duckdb.DuckDBPyConnection, text: str) -> Tree:
    try:
        found = trees(connection, text)
    except duckdb.Error as error:
        raise sql_error(error) from error
    node: Tree = without_places(found[0]) if found and len(found) == 1 else {}
    return node


def _at(tree: Any, *keys: str) -> Any:
    """What stands at a path of keys; None if there is nothing."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
