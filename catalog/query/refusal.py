"""Errors about queries, with the reason and advice."""

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
    """Return the error about a statement, or a part of one, that does not read."""
    return CatalogError(
        f"Refused: {what}. {READS} To keep an answer: phasezoo sql QUERY --to FILE.csv, "
        ".parquet or .json; in Python .to_arrow_table() or .df()."
    )


def sql_error(error: duckdb.Error | OSError) -> CatalogError:
    """Return the error about a query that DuckDB refuses, with DuckDB's explanation.

    If the query may not read a file, the error says how to allow that.

    Parameters
    ----------
    error : duckdb.Error or OSError
        Error of DuckDB; an `OSError` if the query fails while Arrow reads the answer.
    """
    text = _explanation(str(error))
    if "to DECIMAL(38,0)" in text:
        text += (
            "\nArrow and Parquet hold integers of at most 38 digits. Turn the column into "
            "text: CAST(column AS VARCHAR)."
        )
    denied = re.search(r'Cannot access (?:file|directory) "(.*?)" - file', text, re.S)
    if denied is None:
        return CatalogError(f"SQL error. {text}")
    path = denied[1]
    if re.match(r"\w+://", path):
        return CatalogError(
            f"A query cannot read {path}: remote files are not fetched. Download the file, "
            "and allow its folder: phasezoo sql QUERY --allow DIR"
        )
    why, folder = _place(path)
    return CatalogError(
        f"A query cannot read {path}: {why}. To read it, allow its folder: "
        f"phasezoo sql QUERY --allow {shlex.quote(folder)}; in Python "
        f"catalog.open(path, allow=[{folder!r}])."
    )


def _place(path: str) -> tuple[str, str]:
    """Return why a path cannot be read, and the folder that would have to be allowed."""
    fixed_part = re.split(r"[*?\[]", path)[0]
    folder = os.path.dirname(fixed_part) or "."
    if fixed_part != path:
        fixed_part = folder
    real = os.path.realpath(fixed_part) if "\0" not in fixed_part else fixed_part
    if real in (fixed_part, os.path.abspath(fixed_part)):
        return "it is not part of the catalogue", folder
    inside = os.path.isdir(real) or fixed_part != path
    return f"a link in its path leads to {real}", real if inside else os.path.dirname(real)


def _explanation(text: str) -> str:
    """Return DuckDB's message without advice to use SET and without misleading positions.

    Queries cannot use SET. Only errors found before a query runs show a position in the
    text of the user; other positions are in text that we generated.
    """
    text = re.sub(r"\n+(?:Stack Trace|This error signals)\b.*\Z", "", text, flags=re.S)
    text = re.sub(r"(?<=[.!]) +(?:Use|Try|Consider)\b[^\n]*\bSET [a-z_]+[^\n]*", "", text)
    if re.match(r"(Parser|Syntax|Binder|Catalog) Error", text):
        return text
    return re.sub(r"\n+LINE \d+: .*\Z", "", text, flags=re.S)
