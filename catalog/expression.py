"""Checks that a text is one SQL expression, and no more, before it becomes part of a query.

DuckDB parses it where it will stand, and what it finds there is compared with what it
finds of a number in its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from catalog.errors import CatalogError

_PLACE = "SELECT ({}) AS x FROM models"
_STARS = ("STAR", "COLUMNS")


def check_expression(text: str, what: str) -> None:
    """Refuse a text that is not one SQL expression over `models`.

    Parameters
    ----------
    what : str
        Name of the text in the error, such as "--target gap".

    Raises
    ------
    CatalogError
        If it is none, or goes on after one.
    """
    _checked(text, what)


def check_columns_only(text: str, what: str) -> None:
    """Refuse a text that is more than an expression over columns of `models`.

    For expressions that somebody else wrote into a file: they may not query.

    Raises
    ------
    CatalogError
        If it is no expression, or holds a query of its own.
    """
    for part in _parts(_checked(text, what)):
        if part.get("class") == "SUBQUERY":
            raise CatalogError(
                f"{what} holds a query: {text!r}. In a file it may only compute with "
                "columns of models; if you trust it, give it yourself."
            )


def _checked(text: str, what: str) -> Any:
    """The expression as DuckDB parses it."""
    node, plain = _parsed(text), _parsed("0")
    own = node.pop("select_list", []) if node else []
    if plain is not None:
        plain.pop("select_list")
    if node is None or node != plain or len(own) != 1 or _is_star(own[0]):
        raise CatalogError(
            f"{what} must be one SQL expression over columns of models, such as "
            f"train_accuracy - test_accuracy. Got {text!r}."
        )
    return own[0]


def _parsed(text: str) -> dict[str, Any] | None:
    """The one SELECT in which a text stands, without places; None if it is none."""
    try:
        with duckdb.connect() as connection:
            query = "SELECT json_serialize_sql(?)"
            told = connection.execute(query, [_PLACE.format(text)]).fetchall()[0][0]
        tree = json.loads(told)
    except (duckdb.Error, UnicodeError, RecursionError, ValueError):
        return None
    if tree["error"] or len(tree["statements"]) != 1:
        return None
    node: dict[str, Any] = tree["statements"][0]["node"]
    for part in _parts(node):
        part.pop("query_location", None)
        part.pop("query_location_length", None)
    return node


def _is_star(part: dict[str, Any]) -> bool:
    return part.get("class") in _STARS


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a tree, whatever its depth."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield one
            left += one.values()
        elif isinstance(one, list):
            left += one
