r"""Escaping of untrusted text for display on a terminal or a page.

A name may hold escape sequences that move the cursor, or marks that change the direction
of writing, so that the displayed line differs from the text. All output (console, tables,
reports, plots, errors) passes through `printable`; see also `catalog.console.outlet`.

These characters are escaped: control and format characters (Unicode categories Cc and Cf,
which include direction marks and zero-width characters), line and paragraph separators,
halves of surrogate pairs, and noncharacters. Letters, accents, CJK and emoji stay as they
are, and so do the joiners inside an emoji. A backslash is not doubled, so an escaped
character looks the same as a literal escape sequence: the result is for display and cannot
be parsed back.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

_JOINER = "\u200d"
_BEFORE_JOINER = ("So", "Sk")
"""Unicode categories of emoji and of the skin tones that may follow an emoji."""

_VARIANT = "\ufe0f"
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def acts(character: str) -> bool:
    """Return True if a character does anything but display itself."""
    code = ord(character)
    category = unicodedata.category(character)
    noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return category in ("Cc", "Cf", "Cs", "Zl", "Zp") or noncharacter


def printable(text: str) -> str:
    r"""Return text on one line, with control characters escaped in Python's notation.

    Examples
    --------
    >>> print(printable("a\x1b[2Jb\u202ec\n"))
    a\x1b[2Jb\u202ec\n
    >>> print(printable("Zürich 网络 \U0001f9d1\u200d\U0001f4bb"))
    Zürich 网络 🧑‍💻
    """
    return _escaped(text, _escape)


def printable_lines(text: str) -> list[str]:
    r"""Split a text at its line breaks and return the lines, each `printable`.

    Examples
    --------
    >>> printable_lines("a\nb\x07")
    ['a', 'b\\x07']
    """
    return [printable(line) for line in text.split("\n")]


def json_text(value: Any, *, ascii_only: bool = False) -> str:
    r"""Return a JSON document with control characters escaped.

    The document parses to the same value as without the escapes.

    Parameters
    ----------
    value
        JSON value; other objects within it are replaced by ``str(object)``.
    ascii_only : bool, default=False
        Escape all characters outside ASCII too.

    Examples
    --------
    >>> print(json_text(["é\x9b\u202e"]))
    [
      "é\u009b\u202e"
    ]
    """
    text = json.dumps(value, ensure_ascii=ascii_only, indent=2, default=str)
    # Outside of strings JSON has no control characters but line breaks, which must stay.
    return "\n".join(_escaped(line, _json_escape) for line in text.split("\n"))


def yaml_text(text: str) -> str:
    r"""Return any text as a double-quoted YAML scalar.

    Examples
    --------
    >>> print(yaml_text('a "b"\n- c'))
    "a \"b\"\n- c"
    """
    return _escaped(json.dumps(text, ensure_ascii=False), _yaml_escape)


def _escaped(text: str, escape: Any) -> str:
    if text.isprintable():  # fast path of nearly all texts
        return text
    parts = [
        escape(c) if acts(c) and not _joins(text, i) else c for i, c in enumerate(text)
    ]
    return "".join(parts)


def _joins(text: str, i: int) -> bool:
    """Return True if character i joins its neighbours into one emoji."""
    if text[i] != _JOINER or not 0 < i < len(text) - 1:
        return False
    before = text[i - 2] if text[i - 1] == _VARIANT and i > 1 else text[i - 1]
    categories = unicodedata.category(before), unicodedata.category(text[i + 1])
    return categories[0] in _BEFORE_JOINER and categories[1] == "So"


def _escape(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _yaml_escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
