"""Temporary files and folders beside their targets, and deletion of abandoned ones.

Their names are ``.NAME.<8 hex digits>.tmp``. The writer of a temporary file holds a lock on
it, which the operating system frees when the process ends, however it ends. So files that a
killed process left can be distinguished from files that are being written, and deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.tmp", re.DOTALL)
"""Names of temporary files and folders."""

_NAMED = 48
"""Characters of the target's name to keep, as file systems allow names of 255 bytes."""


def delete_abandoned(path: Path) -> bool:
    """Delete a temporary file or folder of a process that has ended.

    Parameters
    ----------
    path : Path
        Any path. Nothing happens unless it is a temporary file or folder that no process
        is writing.

    Returns
    -------
    bool
        Whether the path was deleted.
    """
    with _unowned(path) as unowned:
        if unowned:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return unowned


def abandoned(path: Path) -> bool:
    """Return whether a path is a temporary file or folder that no process is writing."""
    with _unowned(path) as unowned:
        return unowned


def sweep_before(target: Path) -> None:
    """Delete temporary files that killed writers of a target left beside it."""
    start = f".{target.name[:_NAMED]}."
    with contextlib.suppress(OSError):  # the folder is missing or may not be listed
        for name in os.listdir(target.parent):
            if name.startswith(start):
                delete_abandoned(target.with_name(name))


@contextlib.contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Create a temporary folder beside a target, and delete it when the block ends.

    Raises
    ------
    OSError
        If the folder cannot be created.
    """
    path, descriptor = claimed(target, new_folder)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def new_folder(path: Path) -> int:
    """Create a folder and return its descriptor."""
    path.mkdir()
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def claimed(target: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Create and lock a temporary file or folder beside a target.

    Parameters
    ----------
    target : Path
        Path that the temporary one will replace.
    make : callable
        Creates a path and returns a descriptor of it.

    Returns
    -------
    path : Path
        The temporary path.
    descriptor : int
        Descriptor that holds the lock; the caller closes it.
    """
    while True:
        name = f".{target.name[:_NAMED]}.{secrets.token_hex(4)}.tmp"
        temporary = target.with_name(name)
        descriptor = make(temporary)
        with contextlib.suppress(OSError):  # some file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, descriptor
        os.close(descriptor)  # another process deleted it before it was locked


@contextlib.contextmanager
def _unowned(path: Path) -> Iterator[bool]:
    """Yield whether a path is abandoned, and keep others from claiming it in the block."""
    descriptor = None
    if TEMPORARY.fullmatch(path.name):
        with contextlib.suppress(OSError):  # a link, deleted, or not readable
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path, flags)
    if descriptor is None:
        yield False
        return
    try:
        mode = os.fstat(descriptor).st_mode
        free = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            free = False
        yield free
    finally:
        os.close(descriptor)
