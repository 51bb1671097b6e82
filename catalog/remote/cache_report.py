"""Contents of the cache of remote catalogues, and emptying it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from catalog.errors import CatalogError, NotFound
from catalog.remote.address import parse_address
from catalog.remote.cache_folder import ADDRESS, mirror_root, mirrors_folder
from catalog.remote.cached_parts import delete_part, mirrors_in, parts_of

_LONGEST = 4_096
"""Bytes of an address that are read."""


class CachedAddress(NamedTuple):
    """Contents of the cache that belong to one address.

    Attributes
    ----------
    address : str
        Address, or the name of its folder if that does not say.
    metadata, weights : int
        Bytes on the disk.
    last_used : str or None
        UTC time, ISO 8601; None for what a killed process left.
    """

    address: str
    metadata: int
    weights: int
    last_used: str | None


def cached_addresses() -> list[CachedAddress]:
    """Return a row per address, the one that was used last first."""
    rows = []
    for mirror in mirrors_in(mirrors_folder()):
        parts = parts_of(mirror)
        metadata = sum(part.bytes for part in parts if part.copy is None)
        weights = sum(part.bytes for part in parts if part.copy is not None)
        used = max(part.used for part in parts)
        time = datetime.fromtimestamp(used, UTC).isoformat(sep=" ", timespec="seconds")
        name = address_of(mirror) or mirror.name
        row = CachedAddress(name, metadata, weights, time if used else None)
        rows.append((used, row))
    rows.sort(key=lambda row: (-row[0], row[1].address))
    return [row for _, row in rows]


def address_of(mirror: Path) -> str | None:
    """Return the address that a mirror names; None if it is not that of the folder."""
    try:
        descriptor = os.open(mirror / ADDRESS, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as opened:
            text = opened.read(_LONGEST).decode().removesuffix("\n")
        return text if parse_address(text).id == mirror.name else None
    except (OSError, UnicodeDecodeError, CatalogError):
        return None


def empty_cache(address: str | None = None) -> tuple[int, int]:
    """Delete what the cache holds, of all addresses or of one, unless it is in use.

    Returns
    -------
    freed, left : int
        Bytes that were deleted, and bytes that processes are using.

    Raises
    ------
    NotFound
        If the cache holds nothing of the address.
    CatalogError
        If it is no address, or the cache cannot be changed.
    """
    mirrors = list(_chosen(address))
    freed = left = 0
    for part in (part for mirror in mirrors for part in parts_of(mirror)):
        if delete_part(part):
            freed += part.bytes
        else:
            left += part.bytes
    return freed, left


def _chosen(address: str | None) -> Iterator[Path]:
    mirrors = mirrors_in(mirrors_folder())
    if address is None:
        yield from mirrors
        return
    named = [mirror for mirror in mirrors if address == mirror.name]
    if not named:
        mirror = mirror_root(parse_address(address))
        named = [path for path in mirrors if path == mirror]
    if not named:
        raise NotFound(
            f"The cache holds nothing of {address}. 'phasezoo cache' lists what it holds."
        )
    yield from named
