"""Local copies of remote files that this process has open.

An open copy holds a shared lock on its file, and so does every array that is mapped from
it; whoever empties the cache takes the exclusive lock first. So no file is deleted while
it is read. A process keeps the copies open that it used last, but only a few, so that a
reader of many shards does not keep them all in the cache.
"""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalog.remote.spans import Span

MOST_OPEN = 16
"""Copies that a process keeps open besides those that are being read."""


class OpenCopy:
    """An open local copy of parts of a file.

    Parameters
    ----------
    path : Path
        Where it was opened.
    descriptor : int
        Its descriptor, which the object closes when it is no longer used.

    Attributes
    ----------
    known : sequence of (int, int)
        Ranges that have arrived, as far as this process knows.
    reader : object
        What reads the copy; kept as long as the copy is.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self.known: Sequence[Span] = ()
        self.reader: Any = None
        weakref.finalize(self, os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        self._status = os.fstat(descriptor)

    @property
    def bytes(self) -> int:
        """Length of the file."""
        return os.fstat(self.descriptor).st_size

    def is_current(self) -> bool:
        """Report if the file is still the one at its path."""
        try:
            return os.path.samestat(self._status, os.lstat(self.path))
        except OSError:
            return False


class OpenCopies:
    """The copies that a process used last, by path and digest of the remote file."""

    def __init__(self) -> None:
        self._copies: OrderedDict[tuple[Path, str], OpenCopy] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, sha256: str) -> OpenCopy | None:
        """Return an open copy; none if it was deleted since."""
        with self._lock:
            copy = self._copies.get((path, sha256))
            if copy is None or not copy.is_current():
                return None
            self._copies.move_to_end((path, sha256))
            return copy

    def put(self, copy: OpenCopy, sha256: str) -> None:
        """Keep a copy open, in place of the one that was not used for longest."""
        with self._lock:
            self._copies[copy.path, sha256] = copy
            self._copies.move_to_end((copy.path, sha256))
            while len(self._copies) > MOST_OPEN:
                self._copies.popitem(last=False)

    def let_go(self) -> None:
        """Close all copies that are not being read."""
        with self._lock:
            self._copies.clear()

    def after_fork(self) -> None:
        """Replace the lock, which another thread of the parent may have held."""
        self._lock = threading.Lock()


OPEN = OpenCopies()
os.register_at_fork(after_in_child=OPEN.after_fork)
