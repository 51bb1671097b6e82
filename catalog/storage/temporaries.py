"""Temporary files and folders beside what they will become, and what is left of them.

They are called ``.NAME.<8 hex digits>.tmp``. Who writes one holds a lock on it, which the
operating system frees when the process ends, however it ends: so what a killed process left
can be told from what is being written, and deleted.
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
"""Characters of a name that its temporary name keeps: file systems allow 255 bytes."""


def delete_abandoned(path: Path) -> bool:
    """Delete a temporary file or folder of a process that has ended.

    Parameters
    ----------
    path : Path
        Anything; what is no temporary file or folder, or is being written, stays.

    Returns
    -------
    bool
        Whether it was deleted.
    """
    with _unowned(path) as unowned:
        if unowned:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return unowned


def abandoned(path: Path) -> bool:
    """Whether a path is a temporary file or folder that nobody is writing."""
    with _unowned(path) as unowned:
        return unowned


def sweep_before(target: Path) -> None:
    """Delete what killed writers of the same name left beside it."""
    start = f".{target.name[:_NAMED]}."
    with contextlib.suppress(OSError):  # a folder that is not there, or may not be listed
        for name in os.listdir(target.parent):
            if name.startswith(start):
                delete_abandoned(target.with_name(name))


@contextlib.contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """A folder beside a target that is gone when the block ends.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    path, descriptor = claimed(target, new_folder)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def new_folder(path: Path) -> int:
    """Make a folder; its descriptor."""
    path.mkdir()
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def claimed(target: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """A temporary path beside a target and its descriptor, which holds its lock."""
    while True:
        name = f".{target.name[:_NAMED]}.{secrets.token_hex(4)}.tmp"
        temporary = target.with_name(name)
        descriptor = make(temporary)
        with contextlib.suppress(OSError):  # some file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, descriptor
        os.close(descriptor)  # swept before it had its lock


@contextlib.contextmanager
def _unowned(path: Path) -> Iterator[bool]:
    """Whether it is a temporary path whose writer has ended; it stays so in the block."""
    descriptor = None
    if TEMPORARY.fullmatch(path.name):
        with contextlib.suppress(OSError):  # a link, gone, or not ours to read
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
