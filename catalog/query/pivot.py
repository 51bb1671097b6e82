"""Support of PIVOT without a list of values, which a checked query looks up first.

DuckDB splits such a PIVOT into several statements, and shows the tree of none of them. With
its values named, the statement is a SELECT like any other. The values become a type of the
connection, as in DuckDB itself, so that the columns are the same.
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
"""Words that may follow the columns and aggregates of a PIVOT."""

_VALUES = (
    "SELECT DISTINCT CAST(pz_value AS VARCHAR) FROM pz_source "
    "WHERE pz_value IS NOT NULL ORDER BY 1"
)


def with_values(
    connection: duckdb.DuckDBPyConnection, text: str, check: Callable[[Tree], None]
) -> str:
    """Name the values of every PIVOT of a statement, and return the new statement.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Connection on which the types with the values are created.
    text : str
        Statement for which DuckDB shows no tree.
    check : callable
        Function that raises an error if a tree does more than read.

    Returns
    -------
    str
        Statement in which every PIVOT has its values.

    Raises
    ------
    CatalogError
        If the statement is refused, or a PIVOT cannot be found in it.
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
        roots = trees(connection, raw.decode()) if names else None
    except duckdb.Error:
        roots = None  # the text is valid SQL, so an insertion is wrong
    pivots = dict(_pivots(roots, [])) if roots and len(roots) == 1 else {}
    if not roots or not set(names) <= set(pivots):
        raise CatalogError(
            "This PIVOT cannot be checked. List its values: PIVOT ... ON COLUMN IN (VALUE, "
            "...) USING ...; or use GROUP BY instead."
        )
    check(roots[0])
    for name in names:
        query = _values_query(connection, *pivots[name])
        try:
            connection.execute(f"CREATE TEMP TYPE {identifier(name)} AS ENUM ({query})")
        except duckdb.Error as error:
            raise sql_error(error) from error
    return raw.decode()


def _without_values(words: list[Token]) -> Iterator[tuple[int, int]]:
    """Yield the byte ranges of the columns after ON of a PIVOT that have no IN."""
    for i, word in enumerate(words):
        if word.word not in ("PIVOT", "PIVOT_WIDER"):
            continue
        clause = []
        for following in words[i + 1 :]:
            outside = following.depth < word.depth
            if outside or (following.depth == word.depth and following.word in _END):
                break
            if following.depth == word.depth:
                clause.append(following)
        # A join before may also have ON and USING, so the last ON belongs to the PIVOT.
        on_positions = [k for k, following in enumerate(clause) if following.word == "ON"]
        columns: list[list[Token]] = [[]]
        for following in clause[on_positions[-1] + 1 :] if on_positions else []:
            if following.word == "USING":
                break
            if following.word == ",":
                columns.append([])
            else:
                columns[-1].append(following)
        for column in columns:
            if column and not _has_values(column):
                yield column[0].start, column[-1].end


def _has_values(column: list[Token]) -> bool:
    """Return whether a column ends with IN and a list or name."""
    in_positions = [k for k, token in enumerate(column) if token.word == "IN"]
    if not in_positions or (
        in_positions[-1] and column[in_positions[-1] - 1].word == "NOT"
    ):
        return False
    after = column[in_positions[-1] + 1 :]
    return [token.word for token in after] == ["(", ")"] or len(after) == 1


def _new_name(text: str, number: int) -> str:
    """Return the name of a type that does not occur in the text."""
    name = f"pz_pivot_{number}"
    while name in text.lower():
        name += "_"
    return name


def _pivots(tree: Any, ctes: list[Any]) -> Iterator[tuple[str, tuple[Tree, Tree, Any]]]:
    """Yield for every PIVOT the name of its values, and its source, column and CTEs."""
    if isinstance(tree, list):
        for item in tree:
            yield from _pivots(item, ctes)
    if not isinstance(tree, dict):
        return
    own_ctes = (tree.get("cte_map") or {}).get("map") or []
    for i, entry in enumerate(own_ctes):
        yield from _pivots(entry["value"], ctes + own_ctes[:i])
    ctes = ctes + own_ctes
    for pivot in tree.get("pivots") or ():
        if pivot.get("pivot_enum") and len(pivot["pivot_expressions"]) == 1:
            parts = tree["source"], pivot["pivot_expressions"][0], ctes
            yield pivot["pivot_enum"], parts
    for key, value in tree.items():
        if key != "cte_map":
            yield from _pivots(value, ctes)


def _values_query(
    connection: duckdb.DuckDBPyConnection, source: Tree, column: Tree, ctes: list[Any]
) -> str:
    """Return SQL for the distinct values of a column as text, in order."""
    templates = trees(connection, _VALUES)
    assert templates is not None
    node = _replaced(templates[0], source, column)
    # Of two CTEs with the same name, the inner one counts.
    node["cte_map"]["map"] = list({entry["key"]: entry for entry in ctes}.values())
    statement = json.dumps({"error": False, "statements": [{"node": node}]})
    query = f"SELECT json_deserialize_sql({literal(statement)}::JSON)"
    text: str = connection.execute(query).fetchall()[0][0]
    return text


def _replaced(tree: Any, source: Tree, column: Tree) -> Any:
    """Return a template tree with its placeholders replaced by source and column."""
    if isinstance(tree, list):
        return [_replaced(item, source, column) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.get("table_name") == "pz_source":
        return source
    if tree.get("column_names") == ["pz_value"]:
        return column
    return {key: _replaced(value, source, column) for key, value in tree.items()}
