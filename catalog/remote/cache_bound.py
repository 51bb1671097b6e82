"""The bound of the cache: what was not used for longest goes when it is exceeded."""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path

from catalog.byte_size import parse_bytes
from catalog.errors import CatalogError
from catalog.remote.cache_folder import mirrors_folder
from catalog.remote.cached_parts import CachedPart, delete_part, mirrors_in, parts_of

DEFAULT = "20GB"
"""Bound of the cache if ``PHASEZOO_CACHE_SIZE`` sets none."""

_SLACK = 64
"""Part of the bound that a process adds before it looks at the whole cache again."""

_lock = threading.Lock()
_added: dict[Path, int] = {}
"""Bytes that this process added to a cache since it last looked at all of it."""


def cache_bound() -> int:
    """Return the bytes that the cache may hold.

    Raises
    ------
    CatalogError
        If ``PHASEZOO_CACHE_SIZE`` is no size.
    """
    text = os.environ.get("PHASEZOO_CACHE_SIZE") or DEFAULT
    size = parse_bytes(text)
    if size is None:
        raise CatalogError(
            f"PHASEZOO_CACHE_SIZE must be a size such as {DEFAULT}. Got {text!r}."
        )
    return size


def keep_within_bound(folder: Path, added: int) -> None:
    """Note that bytes came into a folder of the cache, and make room if needed.

    Folders outside of the cache are left alone. A process looks at the whole cache when it
    starts to add, then whenever it has added a 64th of the bound, and at its end, when it
    reads no file any more.
    """
    mirrors = mirrors_folder()
    if not folder.is_relative_to(mirrors):
        return
    bound = cache_bound()
    with _lock:
        first = mirrors not in _added
        _added[mirrors] = _added.get(mirrors, 0) + added
        if not first and _added[mirrors] * _SLACK < bound:
            return
        _added[mirrors] = 0
    if first:
        atexit.register(make_room, mirrors, bound)
    make_room(mirrors, bound)


def make_room(mirrors: Path, bound: int) -> int:
    """Delete what was not used for longest until the cache is within a bound.

    What a process has open stays, so the cache may exceed its bound by that.

    Returns
    -------
    int
        Bytes that are left.
    """
    parts = [part for mirror in mirrors_in(mirrors) for part in parts_of(mirror)]
    total = sum(part.bytes for part in parts)
    if total > bound:
        for part in sorted(parts, key=_order):
            if delete_part(part):
                total -= part.bytes
            if total <= bound - bound // _SLACK:
                break
    return total


def _order(part: CachedPart) -> tuple[float, bool]:
    return part.used, part.copy is None
