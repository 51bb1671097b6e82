"""Space that removing things may use up on a full disk.

Deleting needs a few kilobytes for the record of what was deleted. On a full disk `rm`
and `gc` give up ``cache/`` first, which is rebuilt at any time, and then a reserve that
lies in ``writers/`` for this purpose.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from catalog.errors import DiskFull

BYTES = 1 << 20
"""Size of the reserve."""

_NAME = "reserve"
_ROOM = 64
"""Reserves that must fit on the disk before one is laid by."""


def keep_reserve(root: Path) -> None:
    """Lay the reserve by, unless it is there or the disk is nearly full."""
    path = root / "writers" / _NAME
    if path.exists() or free_bytes(root) < _ROOM * BYTES:
        return
    temporary = path.with_name(f".{_NAME}.tmp")
    try:
        with temporary.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, BYTES)
        temporary.rename(path)
    except OSError:  # a catalogue is as good without
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def give_up(root: Path) -> bool:
    """Delete the cache, or the reserve if there is no cache.

    Returns
    -------
    bool
        False if neither was there: nothing more can be given up.
    """
    cache, reserve = root / "cache", root / "writers" / _NAME
    for path in (cache, reserve):
        if not os.path.lexists(path):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        if not os.path.lexists(path):
            return True
    return False


def is_full(error: OSError) -> bool:
    """Report if an operation failed because the disk, or the user's share, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def version_bytes(root: Path) -> int:
    """Size of the largest version of a catalogue: about what the next one takes."""
    sizes = [path.stat().st_size for path in (root / "snapshots").glob("*.json")]
    return max(sizes, default=0)


def free_bytes(root: Path) -> int:
    """Bytes that the user may still write to the disk of a folder."""
    disk = os.statvfs(root)
    return disk.f_bavail * disk.f_frsize


@contextlib.contextmanager
def needing(count: Callable[[], int], advice: str = "") -> Iterator[None]:
    """Add to the error about a full disk how many bytes the work needs."""
    try:
        yield
    except DiskFull as error:
        raise DiskFull(
            f"{error} This needs about {count():,} bytes; cache/ and the reserve were "
            f"given up already. {advice}".rstrip()
        ) from error
