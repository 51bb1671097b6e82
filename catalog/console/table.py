"""Formatting of rows as a text table with aligned columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from catalog.console.plain_values import plain
from catalog.printable import printable

WIDEST = 72
"""Maximum number of characters of a cell in a printed table; --json prints whole values."""


def table_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table with a header and a rule.

    The keys of the first row are the columns. Columns of numbers are right-aligned.

    Examples
    --------
    >>> for line in table_lines([{"width": 8, "lr": 0.1}, {"width": 16, "lr": None}]):
    ...     print(line)
    width   lr
    -----  ---
        8  0.1
       16    -
    """
    if not rows:
        return ["(no rows)"]
    columns = list(rows[0])
    names = list(map(printable, map(str, columns)))
    cells = [[cell(row[column]) for column in columns] for row in rows]
    widths = [
        max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)
    ]
    numeric = [
        all(isinstance(row[column], int | float | None) for row in rows)
        for column in columns
    ]
    lines = []
    for line in [names, ["-" * width for width in widths], *cells]:
        padded = [
            text.rjust(width) if is_numeric else text.ljust(width)
            for text, width, is_numeric in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def cell(value: Any, widest: int = WIDEST) -> str:
    """Format a value as `printable` text of a cell, cut at ``widest`` characters.

    Lists, records and bytes look as in ``--json``.

    Examples
    --------
    >>> cell(["a", True, None]), cell({"k": 0.5}), cell(b"x")
    ('["a", true, null]', '{"k": 0.5}', '78')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping | list | tuple):
        value = json.dumps(plain(value), ensure_ascii=False, default=str)
    text = printable(str(plain(value)))
    return text if len(text) <= widest else text[: widest - 3] + "..."
