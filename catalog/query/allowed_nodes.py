"""Kinds of syntax tree nodes that a query may have: only nodes that read.

The allowed kinds are listed, so that kinds that a later DuckDB adds are refused until they
have been reviewed.
"""

from __future__ import annotations

from catalog.errors import CatalogError, closest
from catalog.query.functions import FUNCTIONS
from catalog.query.paths import check_paths
from catalog.query.refusal import refusal
from catalog.query.tree import Tree, nodes

EXPRESSIONS = frozenset((
    "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION",
    "CONSTANT", "FUNCTION", "LAMBDA", "LAMBDA_REF", "OPERATOR", "POSITIONAL_REFERENCE",
    "STAR", "SUBQUERY", "TYPE", "WINDOW",
))  # fmt: skip

_QUERIES = ("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE")
_SOURCES = (
    "BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT",
    "SHOW_REF",
)  # fmt: skip
_MODIFIERS = (
    "ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER",
)  # fmt: skip
_ORDERS = ("ORDER_DEFAULT", "ASCENDING", "DESCENDING")
_TYPES = (
    "DECIMAL_TYPE_INFO", "STRING_TYPE_INFO", "LIST_TYPE_INFO", "STRUCT_TYPE_INFO",
    "ENUM_TYPE_INFO", "ARRAY_TYPE_INFO", "USER_TYPE_INFO", "UNBOUND_TYPE_INFO",
    "GENERIC_TYPE_INFO", "INTEGER_LITERAL_TYPE_INFO", "ANY_TYPE_INFO",
)  # fmt: skip

_NEVER = ("duckdb_logs", "duckdb_secrets")
"""Views that are refused, because the functions they read are."""

OTHERS = frozenset((*_QUERIES, *_SOURCES, *_MODIFIERS, *_ORDERS, *_TYPES))


def check_kinds(tree: Tree) -> None:
    """Check that a tree has only allowed nodes, functions, views and paths.

    Raises
    ------
    CatalogError
        If something else is in the tree; the error names it.
    """
    for node in nodes(tree):
        kind, allowed = node.get("class"), EXPRESSIONS
        if kind is None:
            kind, allowed = node.get("type"), OTHERS
        if isinstance(kind, str) and kind not in allowed:
            raise refusal(_word(kind))
        if str(node.get("table_name")).lower() in _NEVER and kind == "BASE_TABLE":
            raise CatalogError(
                f"A query cannot read {node['table_name']}, as it shows other connections."
            )
        name = node.get("function_name")
        check_paths(node)
        if isinstance(name, str) and name.lower() not in FUNCTIONS:
            raise CatalogError(
                f"A query cannot call {name}(): only functions that read are allowed. "
                f"{closest(name.lower(), FUNCTIONS)}"
            )


def _word(kind: str) -> str:
    """Return the SQL word for a kind of node, such as COPY for ``COPY_QUERY_NODE``."""
    if kind == "PARAMETER":
        return "a parameter without a value"
    return kind.split("_")[0]
