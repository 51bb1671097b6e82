"""The check that every query of a user passes before it is run."""

from __future__ import annotations

import re

import duckdb

from catalog.errors import CatalogError
from catalog.query.allowed_nodes import check_kinds
from catalog.query.explain import split_explain
from catalog.query.pivot import with_values
from catalog.query.refusal import READS, refusal, sql_error
from catalog.query.tokens import tokens
from catalog.query.tree import trees

LONGEST, DEEPEST, MOST_JOINED = 1_000_000, 300, 1_000
"""Characters of a query, brackets within brackets, and set operations."""

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*")
_SET_OPERATIONS = re.compile(r"\b(?:union|intersect|except)\b", re.IGNORECASE)


def checked_query(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """Return the statement to run for a query: one, of which every node reads.

    It is the text itself but for EXPLAIN, whose options are written anew, and for PIVOT,
    whose values are named; these then belong to the connection.

    Raises
    ------
    CatalogError
        If it is no SQL, or does anything else than read.
    """
    _check_size(text)
    try:
        found = trees(connection, text)
        kinds = [] if found is not None else _kinds(connection, text)
    except duckdb.Error as error:
        raise sql_error(error) from error
    count = len(kinds if found is None else found)
    if count == 0:
        raise CatalogError(f"The query is empty. {READS}")
    if count != 1:
        raise refusal(f"{count} statements")
    if found is not None:
        check_kinds(found[0])
        return text
    if tokens(text)[0].word == "EXPLAIN":
        prefix, query = split_explain(text)
        return prefix + checked_query(connection, query)
    if kinds == ["MULTI"]:
        return with_values(connection, text, check_kinds)
    raise refusal(tokens(text)[0].word)


def _check_size(text: str) -> None:
    """Refuse what takes the parser minutes."""
    deepest = depth = 0
    bare = _QUOTED.sub("", text)
    for character in bare:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    joined = len(_SET_OPERATIONS.findall(bare))
    if len(text) > LONGEST or deepest > DEEPEST or joined > MOST_JOINED:
        raise CatalogError(
            f"The query has {len(text):,} characters, brackets {deepest} deep and {joined} "
            f"set operations; at most {LONGEST:,}, {DEEPEST} and {MOST_JOINED:,} are read. "
            "Put long lists into a file, and read it with --allow DIR (in Python "
            "allow=[DIR])."
        )


def _kinds(connection: duckdb.DuckDBPyConnection, text: str) -> list[str]:
    """The kind of each statement, as DuckDB calls it; of some it has no name."""
    kinds = []
    for statement in connection.extract_statements(text):
        try:
            kinds.append(statement.type.name)
        except ValueError:
            kinds.append("")
    return kinds
