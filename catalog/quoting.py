"""Text put into SQL: the one place where a value or a name becomes part of a query.

Bound parameters come first; these functions are for the statements of DuckDB that take
none (``ATTACH``, ``COPY``, the paths of a table function), and for names.
"""

from __future__ import annotations

import re

from catalog.errors import CatalogError
from catalog.names import is_unicode


def literal(value: str | int) -> str:
    """Return a value as an SQL literal, whatever the text holds.

    Raises
    ------
    CatalogError
        If the text holds half of a surrogate pair: no database can hold it.

    Examples
    --------
    >>> print(literal("it's"), literal(3))
    'it''s' 3
    """
    return str(int(value)) if isinstance(value, int) else _between("'", value)


def identifier(name: str) -> str:
    """Return the name of a column, table or view, quoted.

    Raises
    ------
    CatalogError
        If the name holds half of a surrogate pair: no column can have it.

    Examples
    --------
    >>> print(identifier('a "b" c'))
    "a ""b"" c"
    """
    return _between('"', name)


def file_pattern(path: str) -> str:
    """Return the pattern that a path alone matches, for functions that expand patterns.

    Examples
    --------
    >>> file_pattern("zoo[1]/*.parquet"), file_pattern("zoo/a.parquet")
    ('zoo[[]1]/[*].parquet', 'zoo/a.parquet')
    """
    return re.sub(r"[*?\[]", lambda mark: f"[{mark[0]}]", path)


def _between(quote: str, text: str) -> str:
    if not is_unicode(text):
        raise CatalogError(
            f"{text!r} is no text: it holds half of a surrogate pair. Expected Unicode."
        )
    return quote + text.replace(quote, 2 * quote) + quote
