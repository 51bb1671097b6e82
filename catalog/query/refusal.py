"""Errors about queries: what is refused, what a query may do, what to paste."""

from __future__ import annotations

import os
import re
import shlex

import duckdb

from catalog.errors import CatalogError

READS = (
    "A query is one statement that reads: SELECT, FROM, WITH, VALUES, TABLE, PIVOT, "
    "UNPIVOT, DESCRIBE, SUMMARIZE, SHOW, or EXPLAIN of one."
)


def refusal(what: str) -> CatalogError:
    """The error about a statement, or a part of one, that does not read."""
    return CatalogError(
        f"Refused: {what}. {READS} To keep an answer: phasezoo sql QUERY --to FILE.csv, "
        ".parquet or .json; in Python .to_arrow_table() or .df()."
    )


def sql_error(error: duckdb.Error | OSError) -> CatalogError:
    """The error about a query that DuckDB refuses, with its own explanation.

    Of a file that may not be read it says how to allow that. What fails while Arrow reads
    an answer is an `OSError`.
    """
    text = _explanation(str(error))
    if "to DECIMAL(38,0)" in text:
        text += (
            "\nArrow and Parquet hold integers of 38 digits: turn the column into text, "
            "CAST(column AS VARCHAR)."
        )
    found = re.search(r'Cannot access (?:file|directory) "(.*?)" - file', text, re.S)
    if found is None:
        return CatalogError(f"SQL error. {text}")
    path = found[1]
    if re.match(r"\w+://", path):
        return CatalogError(
            f"A query cannot read {path}: nothing is fetched. Download it, and allow its "
            "folder: phasezoo sql QUERY --allow DIR"
        )
    why, folder = _place(path)
    return CatalogError(
        f"A query cannot read {path}: {why}. If you want that, allow its folder: "
        f"phasezoo sql QUERY --allow {shlex.quote(folder)}; in Python "
        f"catalog.open(path, allow=[{folder!r}])."
    )


def _place(path: str) -> tuple[str, str]:
    """Say why a path cannot be read, and the folder that would have to be allowed."""
    named = re.split(r"[*?\[]", path)[0]
    folder = os.path.dirname(named) or "."
    if named != path:
        named = folder
    real = os.path.realpath(named) if "\0" not in named else named
    if real in (named, os.path.abspath(named)):
        return "it is no part of the catalogue", folder
    inside = os.path.isdir(real) or named != path
    return f"a link in its path leads to {real}", real if inside else os.path.dirname(real)


def _explanation(text: str) -> str:
    """The words of DuckDB without advice that is refused, and places in text that is ours.

    Only what is found before a query runs shows a place in the text of the user.
    """
    text = re.sub(r"\n+(?:Stack Trace|This error signals)\b.*\Z", "", text, flags=re.S)
    text = re.sub(r"(?<=[.!]) +(?:Use|Try|Consider)\b[^\n]*\bSET [a-z_]+[^\n]*", "", text)
    if re.match(r"(Parser|Syntax|Binder|Catalog) Error", text):
        return text
    return re.sub(r"\n+LINE \d+: .*\Z", "", text, flags=re.S)
