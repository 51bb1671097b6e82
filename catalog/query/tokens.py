"""Tokens of a statement and their positions, from DuckDB's tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")


@dataclass(frozen=True)
class Token:
    """Word, number, text or operator of a statement; comments are not tokens.

    Attributes
    ----------
    start, end : int
        Byte positions in the statement in UTF-8.
    word : str
        Text of the token in capitals, with its quotes.
    depth : int
        Number of open brackets around the token; a bracket does not count itself.
    """

    start: int
    end: int
    word: str
    depth: int


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text in order."""
    raw = text.encode()
    starts = duckdb.tokenize(text)
    ends = [start for start, _ in starts[1:]] + [len(raw)] * bool(starts)
    result, depth = [], 0
    for (start, kind), end in zip(starts, ends, strict=True):
        word = raw[start:end].decode(errors="replace").rstrip()
        if kind == duckdb.token_type.comment or not word:
            continue
        depth -= word in _CLOSING
        end = start + len(word.encode())
        result.append(Token(start, end, word.upper(), depth))
        depth += word in _OPENING
    return result
