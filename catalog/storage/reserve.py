"""Reserve of disk space that `rm` and `gc` may use on a full disk.

Deleting needs a few kilobytes to record what was deleted. On a full disk `rm` and `gc`
first delete ``cache/``, which can be rebuilt at any time, and then the reserve, a file in
``writers/`` for this purpose.
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
"""Size of the reserve in bytes."""

_NAME = "reserve"
_ROOM = 64
"""Number of reserves that must fit on the disk before one is created."""


def keep_reserve(root: Path) -> None:
    """Create the reserve, unless it exists or the disk is nearly full."""
    path = root / "writers" / _NAME
    if path.exists() or free_bytes(root) < _ROOM * BYTES:
        return
    temporary = path.with_name(f".{_NAME}.tmp")
    try:
        with temporary.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, BYTES)
        temporary.rename(path)
    except OSError:  # a catalogue works without a reserve
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def give_up(root: Path) -> bool:
    """Delete the cache, or the reserve if there is no cache.

    Returns
    -------
    bool
        Whether something was deleted. If not, no more space can be freed.
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
    """Return whether an operation failed because the disk or the user's quota is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def version_bytes(root: Path) -> int:
    """Return the size of the largest snapshot, which estimates that of the next one."""
    sizes = [path.stat().st_size for path in (root / "snapshots").glob("*.json")]
    return max(sizes, default=0)


def free_bytes(root: Path) -> int:
    """Return the bytes that the user may still write to the disk of a folder."""
    disk = os.statvfs(root)
    return disk.f_bavail * disk.f_frsize


@contextlib.contextmanager
def needing(count: Callable[[], int], advice: str = "") -> Iterator[None]:
    """Add the number of bytes that the work needs to errors about a full disk.

    Parameters
    ----------
    count : callable
        Returns the number of bytes.
    advice : str, default=""
        Sentence to put at the end of the error.

    Raises
    ------
    DiskFull
        If the block raises it.
    """
    try:
        yield
    except DiskFull as error:
        raise DiskFull(
            f"{error} This needs about {count():,} bytes; cache/ and the reserve were "
            f"already deleted. {advice}".rstrip()
        ) from error
