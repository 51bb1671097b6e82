"""Conditions and expressions from users and files, which become a part of a query.

The text is put between brackets that it must not leave. To check this, the statement is
parsed, and its tree is compared with the tree of a harmless text in the same place.
"""

from __future__ import annotations

from typing import Any

import duckdb

from catalog.errors import CatalogError
from catalog.query.allowed_nodes import check_kinds
from catalog.query.refusal import sql_error
from catalog.query.tokens import tokens
from catalog.query.tree import Tree, trees, without_places

_CONDITION = (
    'one expression over columns of models, such as "width = 32 AND test_accuracy > 0.9"; '
    "ORDER BY, LIMIT and OFFSET may follow."
)
_VALUE = (
    'one value per checkpoint over columns of models, such as "test_accuracy" or '
    '"width > 16", and nothing else.'
)

_MODIFIERS = ("ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER")


def condition(connection: duckdb.DuckDBPyConnection, where: str) -> str:
    """Return the query for the rows of `models` that match a condition.

    Parameters
    ----------
    where : str
        One expression; ORDER BY, LIMIT and OFFSET may follow.

    Raises
    ------
    CatalogError
        If ``where`` is anything else, or empty.
    """
    _refuse_blank(where, f"A condition is {_CONDITION} For all checkpoints give true.")
    query = f"SELECT * FROM models WHERE {where}\n"
    tree, template = (
        _tree(connection, f"FROM ({text}) AS pz", alone=text)
        for text in (query, "SELECT * FROM models WHERE true\n")
    )
    select = _at(tree, "from_table", "subquery", "node")
    template_select = _at(template, "from_table", "subquery", "node")
    if select is not None and select.get("where_clause") is not None:
        kinds = [modifier["type"] for modifier in select["modifiers"]]
        if all(kind in _MODIFIERS for kind in kinds):
            template_select |= {key: select[key] for key in ("where_clause", "modifiers")}
    if tree != template:
        raise CatalogError(f"{where!r} is not a condition. Expected {_CONDITION}")
    check_kinds(tree)
    return query


def expression(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """Return an expression over columns of `models`, in brackets that it cannot leave.

    Raises
    ------
    CatalogError
        If the text is anything else, or empty.
    """
    _refuse_blank(text, f"An expression is {_VALUE}")
    tree, template = (
        _tree(connection, f"SELECT ({value}\n) AS pz FROM models", alone=f"SELECT {value}")
        for value in (text, "true")
    )
    if tree and len(tree.get("select_list", ())) == 1:
        column = tree["select_list"][0]
        if column.get("alias") == "pz" and column.get("class") != "STAR":
            template = {**template, "select_list": [column]}
    if tree != template:
        raise CatalogError(f"{text!r} is not an expression. Expected {_VALUE}")
    check_kinds(tree)
    return f"({text}\n)"


def _refuse_blank(text: str, expected: str) -> None:
    """Refuse a text without a token: nothing, blanks, or comments only."""
    if not tokens(text.encode(errors="replace").decode()):
        raise CatalogError(f"{text!r} is empty. {expected}")


def _tree(connection: duckdb.DuckDBPyConnection, text: str, alone: str) -> Tree:
    """Return the tree of a single statement without positions, or an empty one.

    A syntax error is shown in ``alone``, the statement without the brackets that users did
    not write.
    """
    try:
        roots = trees(connection, text)
    except duckdb.Error:
        try:
            trees(connection, alone)
        except duckdb.Error as error:
            raise sql_error(error) from error
        return {}  # SQL by itself, but not between brackets
    node: Tree = without_places(roots[0]) if roots and len(roots) == 1 else {}
    return node


def _at(tree: Any, *keys: str) -> Any:
    """Return the value at a path of keys; None if there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
