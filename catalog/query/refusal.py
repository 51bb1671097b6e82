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


def sql_error(error: duckdb.Error) -> CatalogError:
    """The error about a query that DuckDB refuses, with its own explanation.

    Of a file that may not be read it says how to allow that.
    """
    found = re.search(r'Cannot access (?:file|directory) "(.*?)" - file', str(error), re.S)
    if found is None:
        return CatalogError(f"SQL error. {error}")
    path = found[1]
    if re.match(r"\w+://", path):
        return CatalogError(
            f"A query cannot read {path}: nothing is fetched. Download it, and allow its "
            "folder: phasezoo sql QUERY --allow DIR"
        )
    folder = os.path.dirname(re.split(r"[*?\[]", path)[0]) or "."
    return CatalogError(
        f"A query cannot read {path}: it is no part of the catalogue. If you want that, "
        f"allow its folder: phasezoo sql QUERY --allow {shlex.quote(folder)}; in Python "
        f"catalog.open(path, allow=[{folder!r}])."
    )
