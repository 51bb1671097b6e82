"""Names on disk: column names of tensors, folder names, identifiers.

A reversible escape turns tensor names into Parquet column names. Characters other than
``a-z 0-9 _ . -`` are written as ``%`` and two lower-case hex digits per UTF-8 byte, so
names that differ only in case stay distinct in SQL, which ignores case. A name that
starts with the reserved prefix has its first character escaped, and the empty name is a
lone ``%``.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

RESERVED = "pz_"
"""Prefix of the key columns of a weight shard."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")
# `datasets` takes these words in a path, wherever they stand between characters that are
# not letters, for names of splits, and then drops all other shards.
_SPLIT_WORDS = frozenset(
    [
        "train",
        "training",
        "test",
        "testing",
        "eval",
        "evaluation",
        "valid",
        "validation",
        "val",
        "dev",
    ]
)


def escape(name: str) -> str:
    """Return the column name of a tensor.

    Examples
    --------
    >>> escape("layer1.0.conv.weight"), escape("W")
    ('layer1.0.conv.weight', '%57')
    """
    if not name:
        return "%"
    column = "".join(c if c in _PLAIN else _percent(c) for c in name)
    if column.startswith(RESERVED):
        column = _percent(column[0]) + column[1:]
    return column


def unescape(column: str) -> str:
    """Return the tensor name of a column: the inverse of `escape`."""
    if column == "%":
        return ""
    raw = re.sub(
        rb"%([0-9a-f]{2})",
        lambda match: bytes([int(match[1], 16)]),
        column.encode(),
    )
    return raw.decode("utf-8", "surrogatepass")


def _percent(character: str) -> str:
    return "".join(f"%{b:02x}" for b in character.encode("utf-8", "surrogatepass"))


def is_unicode(text: str) -> bool:
    """Check that a text can be stored, i.e. holds no lone half of a surrogate pair.

    File names that the system could not decode hold such halves, and JSON texts may.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def slug(text: str) -> str:
    """Turn a text into lower-case words joined by hyphens, safe as a folder name.

    Examples
    --------
    >>> slug("MLP 64-32 (test)")
    'mlp-64-32-xtest'
    """
    joined = "-".join(re.findall(r"[a-z0-9]+", text.lower()))
    return re.sub(r"[a-z]+", _mask_split_word, joined) or "x"


def _mask_split_word(word: re.Match[str]) -> str:
    return "x" + word[0] if word[0] in _SPLIT_WORDS else word[0]


def canonical_json(value: Any) -> str:
    """Return JSON text that is identical for equal values: the input of every hash."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_id(value: Any, digits: int = 32) -> str:
    """Return a hexadecimal identifier derived from the content of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:digits]
