"""Check of every query of a user before it is run."""

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
"""Limits of a query: characters, depth of brackets, and number of set operations."""

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*")
_SET_OPERATIONS = re.compile(r"\b(?:union|intersect|except)\b", re.IGNORECASE)


def checked_query(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """Check a query, and return the statement to run for it.

    The statement is the text itself, with two exceptions: the options of EXPLAIN are
    normalised, and the values of PIVOT are named by types that are created on the
    connection.

    Raises
    ------
    CatalogError
        If the text is not SQL, is not a single statement, or does anything but read.
    """
    _check_size(text)
    try:
        roots = trees(connection, text)
        kinds = [] if roots is not None else _kinds(connection, text)
    except duckdb.Error as error:
        raise sql_error(error) from error
    count = len(kinds if roots is None else roots)
    if count == 0:
        raise CatalogError(f"The query is empty. {READS}")
    if count != 1:
        raise refusal(f"{count} statements")
    if roots is not None:
        check_kinds(roots[0])
        return text
    if tokens(text)[0].word == "EXPLAIN":
        prefix, query = split_explain(text)
        return prefix + checked_query(connection, query)
    if kinds == ["MULTI"]:
        return with_values(connection, text, check_kinds)
    raise refusal(tokens(text)[0].word)


def _check_size(text: str) -> None:
    """Refuse queries that would take the parser minutes."""
    deepest = depth = 0
    unquoted = _QUOTED.sub("", text)
    for character in unquoted:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    operations = len(_SET_OPERATIONS.findall(unquoted))
    if len(text) > LONGEST or deepest > DEEPEST or operations > MOST_JOINED:
        raise CatalogError(
            f"The query has {len(text):,} characters, brackets {deepest} deep and "
            f"{operations} set operations; at most {LONGEST:,}, {DEEPEST} and "
            f"{MOST_JOINED:,} are allowed. Put long lists into a file, and read it with "
            "--allow DIR (in Python allow=[DIR])."
        )


def _kinds(connection: duckdb.DuckDBPyConnection, text: str) -> list[str]:
    """Return DuckDB's name for the kind of each statement; empty if it has none."""
    kinds = []
    for statement in connection.extract_statements(text):
        try:
            kinds.append(statement.type.name)
        except ValueError:
            kinds.append("")
    return kinds
