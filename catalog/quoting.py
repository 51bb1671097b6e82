"""Text put into SQL: the one place where a value or a name becomes part of a query.

Bound parameters come first; these functions are for the statements of DuckDB that take
none (``ATTACH``, ``COPY``, the paths of a table function), and for names.
"""

from __future__ import annotations


def literal(value: str | int) -> str:
    """Return a value as an SQL literal, whatever the text holds.

    Examples
    --------
    >>> print(literal("it's"), literal(3))
    'it''s' 3
    """
    return str(int(value)) if isinstance(value, int) else _between("'", value)


def identifier(name: str) -> str:
    """Return the name of a column, table or view, quoted.

    Examples
    --------
    >>> print(identifier('a "b" c'))
    "a ""b"" c"
    """
    return _between('"', name)


def _between(quote: str, text: str) -> str:
    return quote + text.replace(quote, 2 * quote) + quote
