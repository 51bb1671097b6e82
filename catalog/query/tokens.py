"""Words of a statement and their places, as DuckDB's tokenizer sees them."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")


@dataclass(frozen=True)
class Token:
    """A word, number, text or operator; comments are none.

    Attributes
    ----------
    start, end : int
        Bytes of the statement in UTF-8.
    word : str
        In capitals; quotes are part of it.
    depth : int
        Brackets that are open around it; those of a bracket itself do not count.
    """

    start: int
    end: int
    word: str
    depth: int


def tokens(text: str) -> list[Token]:
    """The tokens of a text, in order."""
    raw = text.encode()
    places = duckdb.tokenize(text)
    ends = [start for start, _ in places[1:]] + [len(raw)]
    found, depth = [], 0
    for (start, kind), end in zip(places, ends, strict=True):
        word = raw[start:end].decode(errors="replace").rstrip()
        if kind == duckdb.token_type.comment or not word:
            continue
        depth -= word in _CLOSING
        end = start + len(word.encode())
        found.append(Token(start, end, word.upper(), depth))
        depth += word in _OPENING
    return found
