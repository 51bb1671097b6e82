"""Markdown in which values from files are text: no markup, link or HTML of theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from catalog.console.table import WIDEST, cell
from catalog.printable import printable

_ACTS = re.compile(
    r"[!#$&*<>@\[\\\]^`{|}~]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word it means nothing
    r"|(?<=www)\.|:(?=/)",  # renderers turn what looks like an address into a link
    re.IGNORECASE,
)
"""Characters that mean something within a line of Markdown or HTML."""


def escaped(value: Any, widest: int = WIDEST) -> str:
    r"""Return a value as Markdown text on one line, cut at ``widest`` characters.

    Examples
    --------
    >>> print(escaped("[a](javascript:b)|`<i>"), escaped("www.a https://b a_b _c_"))
    &#91;a&#93;(javascript:b)&#124;&#96;&#60;i&#62; www&#46;a https&#58;//b a_b &#95;c&#95;
    """
    return _ACTS.sub(lambda match: f"&#{ord(match[0])};", cell(value, widest))


def code(value: Any) -> str:
    r"""Return a value as Markdown code on one line, cut as in printed tables.

    Examples
    --------
    >>> print(code("lr_max"), code("a|`b"))
    `lr_max` <code>a&#124;&#96;b</code>
    """
    if value is None:
        return "-"
    shown = cell(value)
    if shown and shown == shown.strip() and not set("`|\\") & set(shown):
        return f"`{shown}`"
    return f"<code>{escaped(shown)}</code>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table whose cells are Markdown already, and an empty line."""
    lines = [columns, ["---"] * len(columns), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def block(*lines: str) -> list[str]:
    """Return the lines of a block of code, and an empty line; no text can end it."""
    return [*(f"    {printable(line)}" for line in lines), ""]


def listed(values: Sequence[Any], count: int | None = None) -> str:
    """Return values as code, separated by commas, and how many of ``count`` are missing."""
    more = (count or len(values)) - len(values)
    parts = [*map(code, values), *([f"{more:,} more"] if more > 0 else [])]
    return ", ".join(parts) or "-"
