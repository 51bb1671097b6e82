"""Parts of the cache that are deleted as a whole, with their bytes and last use.

A part is the local copy of one file of weights, or all else in the mirror of an address.
Bytes are those that the disk holds: holes of sparse files take none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog.remote.cache_folder import ADDRESS
from catalog.remote.open_copy import OPEN

_BLOCK = 512
"""Bytes of a block, as ``st_blocks`` counts them."""

_MIRROR = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class CachedPart:
    """A part of the cache.

    Attributes
    ----------
    mirror : Path
        Folder of the mirror.
    copy : Path or None
        Copy of a file of weights; None for all else in the mirror.
    bytes : int
        Bytes on the disk.
    used : float
        Time of the last use, in seconds since 1970.
    """

    mirror: Path
    copy: Path | None
    bytes: int
    used: float


def mirrors_in(folder: Path) -> list[Path]:
    """Return the mirrors in a folder; links are none."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                Path(entry.path)
                for entry in entries
                if _MIRROR.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            )
    except (FileNotFoundError, NotADirectoryError):
        return []


def parts_of(mirror: Path) -> list[CachedPart]:
    """Return the parts of a mirror; what is deleted meanwhile is left out."""
    parts, rest = [], 0
    for path, status in _files(mirror):
        size = status.st_blocks * _BLOCK
        if path.suffix == ".parquet" and path.parent.parent == mirror / "weights":
            parts.append(CachedPart(mirror, path, size, status.st_mtime))
        else:
            rest += size
    try:
        used = os.lstat(mirror / ADDRESS).st_mtime
    except OSError:
        used = 0.0  # deleting it was begun, and ended before its end
    return [*parts, CachedPart(mirror, None, rest, used)]


def delete_part(part: CachedPart) -> bool:
    """Delete a part of the cache unless it is in use; return whether it was deleted."""
    if part.copy is not None:
        return _delete_copy(part.copy)
    return _delete_rest(part.mirror)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            with contextlib.suppress(OSError):
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode):
                    yield path, status


def _delete_copy(path: Path) -> bool:
    """Delete a copy with its list of ranges, which goes first: bytes without it are none.

    Nobody waits for the lock of those who add ranges, as they have the copy open.
    """
    with _unused(path) as unused:
        if unused:
            for suffix in (".ranges", ".ranges.tmp", ".lock", path.suffix):
                path.with_suffix(suffix).unlink(missing_ok=True)
    return unused


def _delete_rest(mirror: Path) -> bool:
    """Delete a mirror but the copies in it; first what says that there is a catalogue."""
    with _unused(mirror / ADDRESS) as unused:
        if not unused:
            return False
        for name in ("HEAD", "snapshots", "cache"):
            _delete(mirror / name)
        with os.scandir(mirror) as entries:
            names = {entry.name for entry in entries}
        for name in sorted(names - {ADDRESS, "weights"}):
            _delete(mirror / name)
        (mirror / ADDRESS).unlink(missing_ok=True)
        weights = mirror / "weights"
        if weights.is_symlink():
            weights.unlink()
        folders = [*weights.glob("*"), weights, mirror]
        with contextlib.suppress(OSError):  # some copies are in use
            for folder in folders:
                folder.rmdir()
    return True


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _unused(path: Path) -> Iterator[bool]:
    """Yield whether nobody has a file open, and keep it so in the block."""
    OPEN.let_go()
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError:  # a link, deleted, or not ours
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unused = os.path.samestat(os.fstat(descriptor), os.lstat(path))
        except OSError:
            unused = False
        yield unused
    finally:
        os.close(descriptor)
