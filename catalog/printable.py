r"""Text of files made fit for the eye: what could act on a terminal or a page is escaped.

A name may hold escape sequences that move the cursor, and marks that turn the direction
of writing, so that a line says something else than it holds. Every outlet (`catalog.
outlet`, tables, reports, plots, errors) passes its text through `printable`.

Escaped are control and format characters (Unicode's Cc and Cf, with the marks of
direction and those of no width), separators of lines and paragraphs, halves of surrogate
pairs and what is no character. Letters, accents, CJK and emoji stay as they are, the
joiners inside an emoji too. A backslash stays single, so what was escaped cannot be told
from who wrote it so: it is for reading, not for reading back.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

_JOINER = "\u200d"
_AFTER = ("So", "Sk")
"""Categories of pictures and of the skin tones that may follow one."""

_VARIANT = "\ufe0f"
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def acts(character: str) -> bool:
    """Tell whether a character does something else than show itself."""
    code = ord(character)
    kind = unicodedata.category(character)
    none = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return kind in ("Cc", "Cf", "Cs", "Zl", "Zp") or none


def printable(text: str) -> str:
    r"""Return text on one line, with what acts on a terminal escaped as Python would.

    Examples
    --------
    >>> print(printable("a\x1b[2Jb\u202ec\n"))
    a\x1b[2Jb\u202ec\n
    >>> print(printable("Zürich 网络 \U0001f9d1\u200d\U0001f4bb"))
    Zürich 网络 🧑‍💻
    """
    return _escaped(text, _escape)


def printable_lines(text: str) -> list[str]:
    r"""Return the lines of a text that is meant to have several, each `printable`.

    Examples
    --------
    >>> printable_lines("a\nb\x07")
    ['a', 'b\\x07']
    """
    return [printable(line) for line in text.split("\n")]


def json_text(value: Any, *, ascii_only: bool = False) -> str:
    r"""Return a JSON document that holds no character that acts; it parses to the same.

    Parameters
    ----------
    value
        What JSON has; other objects become their text.
    ascii_only : bool, default=False
        Escape also what only some encodings have.

    Examples
    --------
    >>> print(json_text(["é\x9b\u202e"]))
    [
      "é\u009b\u202e"
    ]
    """
    text = json.dumps(value, ensure_ascii=ascii_only, indent=2, default=str)
    # Outside of strings, where nothing else acts, only the ends of lines do.
    return "\n".join(_escaped(line, _json_escape) for line in text.split("\n"))


def yaml_text(text: str) -> str:
    r"""Return text as a double-quoted YAML scalar, whatever it holds.

    Examples
    --------
    >>> print(yaml_text('a "b"\n- c'))
    "a \"b\"\n- c"
    """
    return _escaped(json.dumps(text, ensure_ascii=False), _yaml_escape)


def _escaped(text: str, escape: Any) -> str:
    if text.isprintable():  # by far the most
        return text
    found = [
        escape(c) if acts(c) and not _joins(text, i) else c for i, c in enumerate(text)
    ]
    return "".join(found)


def _joins(text: str, i: int) -> bool:
    """Whether the character makes one picture of those around it."""
    if text[i] != _JOINER or not 0 < i < len(text) - 1:
        return False
    before = text[i - 2] if text[i - 1] == _VARIANT and i > 1 else text[i - 1]
    kinds = unicodedata.category(before), unicodedata.category(text[i + 1])
    return kinds[0] in _AFTER and kinds[1] == "So"


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
