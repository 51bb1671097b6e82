"""Query results as dictionaries, with values inserted safely."""

from __future__ import annotations

import re
from typing import Any

from catalog.catalog import Catalog, arrow_table
from catalog.quoting import literal

Rows = list[dict[str, Any]]

_NAMED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(?<!:):([a-z]+)\b")
"""String literals and quoted names, which stay as they are, and ``:name`` placeholders."""


def rows_of(catalog: Catalog, query: str, **values: str | int) -> Rows:
    """Answer a query in which ``:name`` stands for the value of that name.

    Parameters
    ----------
    catalog : Catalog
        Catalogue to query.
    query : str
        Query with placeholders.
    values : str or int
        Values by name. Any text becomes an SQL literal; placeholders within a value are
        not replaced.

    Examples
    --------
    >>> import catalog
    >>> zoo = catalog.open(getfixture("tmp_path"), create=True)
    >>> rows_of(zoo, "SELECT :a AS a, :b AS b", a="it's :b", b=2)
    [{'a': "it's :b", 'b': 2}]
    >>> rows_of(zoo, "SELECT :b AS 'a:b'", b=2)
    [{'a:b': 2}]
    """

    def insert(match: re.Match[str]) -> str:
        return literal(values[match[1]]) if match[1] else match[0]

    query = _NAMED.sub(insert, query)
    answer = catalog.sql(query)
    try:
        rows: Rows = arrow_table(answer).to_pylist()
    except (OverflowError, ValueError):  # dates that Python cannot represent
        texts, parse = answer.as_text()
        rows = [parse(row) for row in arrow_table(texts).to_pylist()]
    return rows
