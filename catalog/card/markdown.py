"""Markdown in which values from files are text: no markup, link or HTML of theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from catalog.console.table import WIDEST, cell
from catalog.printable import printable

_PLAIN = frozenset(" ,-./()'\"+=%?;")
"""ASCII characters, besides letters and digits, that mean nothing within a line."""

_LINK = re.compile(r"(?<=www)\.", re.IGNORECASE)
"""Dot of a name that renderers turn into a link."""


def escaped(value: Any, widest: int = WIDEST) -> str:
    r"""Return a value as Markdown text on one line, cut at ``widest`` characters.

    Examples
    --------
    >>> print(escaped("[a](javascript:b)|`<i>"), escaped("www.a.b"))
    &#91;a&#93;(javascript&#58;b)&#124;&#96;&#60;i&#62; www&#46;a.b
    """
    return _LINK.sub("&#46;", "".join(map(_entity, cell(value, widest))))


def code(value: Any) -> str:
    r"""Return a value as Markdown code on one line, cut as in printed tables.

    Examples
    --------
    >>> print(code("lr_max"), code("a|`b"))
    `lr_max` <code>a&#124;&#96;b</code>
    """
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


def _entity(character: str) -> str:
    if not character.isascii() or character.isalnum() or character in _PLAIN:
        return character
    return f"&#{ord(character)};"
