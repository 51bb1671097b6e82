"""Rows of a query as dictionaries, with values put in safely."""

from __future__ import annotations

import re
from typing import Any

from catalog.catalog import Catalog, arrow_table
from catalog.quoting import literal

Rows = list[dict[str, Any]]

_NAMED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(?<!:):([a-z]+)\b")
"""Texts and names, which stay as they are, and places of values."""


def rows_of(catalog: Catalog, query: str, **values: str | int) -> Rows:
    """Answer a query; ``:name`` in it stands for the value of that name.

    Parameters
    ----------
    values : str or int
        Texts become SQL literals, whatever they hold; a value is never looked into.

    Examples
    --------
    >>> import catalog
    >>> zoo = catalog.open(getfixture("tmp_path"), create=True)
    >>> rows_of(zoo, "SELECT :a AS a, :b AS b", a="it's :b", b=2)
    [{'a': "it's :b", 'b': 2}]
    >>> rows_of(zoo, "SELECT :b AS 'a:b'", b=2)
    [{'a:b': 2}]
    """

    def put(match: re.Match[str]) -> str:
        return literal(values[match[1]]) if match[1] else match[0]

    query = _NAMED.sub(put, query)
    answer = catalog.sql(query)
    try:
        rows: Rows = arrow_table(answer).to_pylist()
    except (OverflowError, ValueError):  # dates that Python has not
        texts, read = answer.as_text()
        rows = [read(row) for row in arrow_table(texts).to_pylist()]
    return rows
