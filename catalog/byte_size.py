"""Numbers of bytes as people write them."""

from __future__ import annotations

import re

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_bytes(text: str) -> int | None:
    """Return the number of bytes that a text such as ``20GB`` or ``500M`` states.

    Units are powers of 1,024. The result is None if the text is no size above 0.

    Examples
    --------
    >>> parse_bytes("2GB"), parse_bytes("1.5 kib"), parse_bytes("300"), parse_bytes("a lot")
    (2147483648, 1536, 300, None)
    """
    match = re.fullmatch(
        r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([KMGT]?)i?B?\s*", text, re.I
    )
    size = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    return size or None
