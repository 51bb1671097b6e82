"""Quoting of values and names for SQL; no other module builds them into a query.

Prefer bound parameters. These functions are for DuckDB statements that accept no
parameters (``ATTACH``, ``COPY``, the paths of a table function), and for names.
"""

from __future__ import annotations

import re

from catalog.errors import CatalogError
from catalog.names import is_unicode


def literal(value: str | int) -> str:
    """Return any text or integer as an SQL literal.

    Raises
    ------
    CatalogError
        If the text holds half of a surrogate pair, which no database can store.

    Examples
    --------
    >>> print(literal("it's"), literal(3))
    'it''s' 3
    """
    return str(int(value)) if isinstance(value, int) else _between("'", value)


def identifier(name: str) -> str:
    """Return the quoted name of a column, table or view.

    Raises
    ------
    CatalogError
        If the name holds half of a surrogate pair, which no column name can hold.

    Examples
    --------
    >>> print(identifier('a "b" c'))
    "a ""b"" c"
    """
    return _between('"', name)


def file_pattern(path: str) -> str:
    """Escape a path for functions that expand patterns, so that only the path matches.

    Examples
    --------
    >>> file_pattern("zoo[1]/*.parquet"), file_pattern("zoo/a.parquet")
    ('zoo[[]1]/[*].parquet', 'zoo/a.parquet')
    """
    return re.sub(r"[*?\[]", lambda mark: f"[{mark[0]}]", path)


def _between(quote: str, text: str) -> str:
    if not is_unicode(text):
        raise CatalogError(
            f"{text!r} is not valid Unicode text: it holds half of a surrogate pair."
        )
    return quote + text.replace(quote, 2 * quote) + quote
