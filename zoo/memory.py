"""Memory that training may use, as people write it."""

from __future__ import annotations

import os
import re

from catalog import CatalogError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
LEAST = 64 << 20


def parse_memory(text: str) -> int:
    """Bytes from text such as ``8GB`` or ``500M``.

    Raises
    ------
    CatalogError
        If the text is no size, or less than 64 MB.

    Examples
    --------
    >>> parse_memory("2GB")
    2147483648
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    size = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if size < LEAST:
        raise CatalogError(f"--memory must be at least 64MB, e.g. 4GB. Got {text!r}.")
    return size


def default_memory() -> int:
    """Half of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
