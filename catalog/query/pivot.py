"""PIVOT without a list of values: the values are looked up first, by a checked query.

DuckDB makes several statements of such a PIVOT, and shows the tree of none. With the values
named it is a SELECT like any other. They become a type of the connection, as DuckDB itself
does it, so that the columns are the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import duckdb

from catalog.errors import CatalogError
from catalog.query.refusal import sql_error
from catalog.query.tokens import Token, tokens
from catalog.query.tree import Tree, trees
from catalog.quoting import identifier, literal

_END = ("GROUP", "ORDER", "LIMIT", "OFFSET", "UNION", "INTERSECT", "EXCEPT", ";")
"""What may follow the columns and sums of a PIVOT."""

_VALUES = (
    "SELECT DISTINCT CAST(pz_value AS VARCHAR) FROM pz_source "
    "WHERE pz_value IS NOT NULL ORDER BY 1"
)


def with_values(
    connection: duckdb.DuckDBPyConnection, text: str, check: Callable[[Tree], None]
) -> str:
    """Return a statement whose every PIVOT names its values.

    Parameters
    ----------
    text : str
        A statement of which DuckDB shows no tree.
    check : callable
        Raises if a tree does more than read.

    Raises
    ------
    CatalogError
        If it is refused, or a PIVOT cannot be found in it.
    """
    names: list[str] = []
    raw, shift = text.encode(), 0
    for first, last in sorted(_without_values(tokens(text))):
        names.append(_new_name(text, len(names)))
        column = raw[first + shift : last + shift]
        named = b"(" + column + b") IN " + identifier(names[-1]).encode()
        raw = raw[: first + shift] + named + raw[last + shift :]
        shift += len(named) - len(column)
    try:
        found = trees(connection, raw.decode()) if names else None
    except duckdb.Error:
        found = None  # the text is SQL, so what was put into it is wrong
    pivots = dict(_pivots(found, [])) if found and len(found) == 1 else {}
    if not found or not set(names) <= set(pivots):
        raise CatalogError(
            "This PIVOT cannot be checked. Say its values: PIVOT ... ON COLUMN IN (VALUE, "
            "...) USING ...; or count with GROUP BY."
        )
    check(found[0])
    for name in names:
        query = _values_query(connection, *pivots[name])
        try:
            connection.execute(f"CREATE TEMP TYPE {identifier(name)} AS ENUM ({query})")
        except duckdb.Error as error:
            raise sql_error(error) from error
    return raw.decode()


def _without_values(words: list[Token]) -> Iterator[tuple[int, int]]:
    """Where the columns stand, in bytes, after ON of a PIVOT, that have no IN."""
    for i, word in enumerate(words):
        if word.word not in ("PIVOT", "PIVOT_WIDER"):
            continue
        inside = []
        for other in words[i + 1 :]:
            outside = other.depth < word.depth
            if outside or (other.depth == word.depth and other.word in _END):
                break
            if other.depth == word.depth:
                inside.append(other)
        # A join may have its own ON and USING before: the last ON is that of the PIVOT.
        on = [k for k, other in enumerate(inside) if other.word == "ON"]
        columns: list[list[Token]] = [[]]
        for other in inside[on[-1] + 1 :] if on else []:
            if other.word == "USING":
                break
            if other.word == ",":
                columns.append([])
            else:
                columns[-1].append(other)
        for column in columns:
            if column and not _has_values(column):
                yield column[0].start, column[-1].end


def _has_values(column: list[Token]) -> bool:
    """Whether a column ends with IN and a list, or a name."""
    at = [k for k, one in enumerate(column) if one.word == "IN"]
    if not at or (at[-1] and column[at[-1] - 1].word == "NOT"):
        return False
    after = column[at[-1] + 1 :]
    return [one.word for one in after] == ["(", ")"] or len(after) == 1


def _new_name(text: str, number: int) -> str:
    name = f"pz_pivot_{number}"
    while name in text.lower():
        name += "_"
    return name


def _pivots(tree: Any, ctes: list[Any]) -> Iterator[tuple[str, tuple[Tree, Tree, Any]]]:
    """What a PIVOT reads, its column, and the CTEs it sees, by the name of its values."""
    if isinstance(tree, list):
        for one in tree:
            yield from _pivots(one, ctes)
    if not isinstance(tree, dict):
        return
    own = (tree.get("cte_map") or {}).get("map") or []
    for i, entry in enumerate(own):
        yield from _pivots(entry["value"], ctes + own[:i])
    ctes = ctes + own
    for pivot in tree.get("pivots") or ():
        if pivot.get("pivot_enum") and len(pivot["pivot_expressions"]) == 1:
            place = tree["source"], pivot["pivot_expressions"][0], ctes
            yield pivot["pivot_enum"], place
    for key, value in tree.items():
        if key != "cte_map":
            yield from _pivots(value, ctes)


def _values_query(
    connection: duckdb.DuckDBPyConnection, source: Tree, column: Tree, ctes: list[Any]
) -> str:
    """SQL for the values of a column, as texts in order."""
    known = trees(connection, _VALUES)
    assert known is not None
    node = _replaced(known[0], source, column)
    # Of two with one name the inner one counts.
    node["cte_map"]["map"] = list({entry["key"]: entry for entry in ctes}.values())
    whole = json.dumps({"error": False, "statements": [{"node": node}]})
    query = f"SELECT json_deserialize_sql({literal(whole)}::JSON)"
    text: str = connection.execute(query).fetchall()[0][0]
    return text


def _replaced(tree: Any, source: Tree, column: Tree) -> Any:
    """The template with what it stands for."""
    if isinstance(tree, list):
        return [_replaced(one, source, column) for one in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.get("table_name") == "pz_source":
        return source
    if tree.get("column_names") == ["pz_value"]:
        return column
    return {key: _replaced(value, source, column) for key, value in tree.items()}
