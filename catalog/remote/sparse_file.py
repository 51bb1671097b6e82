"""A remote file of which some ranges are here: read once, read locally ever after.

The file is sparse and as long as the remote one, so that readers need not know. The ranges
that have arrived are listed beside it; a range is listed after its bytes are written and
synced, and several processes add ranges under a lock.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError, ShardCorrupt
from catalog.remote.cache_bound import keep_within_bound
from catalog.remote.cache_folder import cache_refusals
from catalog.remote.open_copy import OPEN, OpenCopy
from catalog.remote.range_list import RangeList
from catalog.remote.spans import Span as Span
from catalog.remote.spans import merged_spans as merged_spans
from catalog.remote.spans import remaining_spans as remaining_spans
from catalog.remote.store import Store, stream_resumed
from catalog.storage.inside_folder import check_inside
from catalog.storage.manifest import File

JOINED = 256 << 10
"""Bytes between two ranges up to which they are downloaded as one."""

LARGEST_PART = 32 << 20
"""Bytes of one request; more are downloaded in several requests side by side."""

LISTED = 256 << 20
"""Bytes after which a long download lists what has arrived."""

THREADS = 8


class SparseFile:
    """Local copy of parts of a remote file.

    Parameters
    ----------
    store : Store or None
        Where the file is; None to work offline, from what has arrived.
    file : File
        Its path, size and digest.
    root : Path
        Folder below which it stands under the same path.
    """

    def __init__(self, store: Store | None, file: File, root: Path) -> None:
        self._store, self._file, self._root = store, file, root
        self.path = root / file.path
        self._listing = RangeList(self.path.with_suffix(".ranges"), file)

    def __reduce__(self) -> tuple[Any, ...]:
        return SparseFile, (self._store, self._file, self._root)

    def reopened(self) -> SparseFile:
        """Return the same file with connections of its own, e.g. after a fork."""
        return SparseFile(copy.copy(self._store), self._file, self._root)

    @property
    def offline(self) -> bool:
        """True if nothing can be downloaded."""
        return self._store is None

    def need(
        self, spans: Sequence[Span], *, joined: int = JOINED, threads: int = THREADS
    ) -> int:
        """Download the parts of some ranges that are not here; return their bytes.

        Parameters
        ----------
        spans : sequence of Span
        joined : int
            Bytes between two ranges up to which they are downloaded as one.
        threads : int
            Requests at once.

        Raises
        ------
        CatalogError
            If the store does not give them, or there is none.
        """
        return self._brought(spans, joined, threads)[1]

    def missing(self, spans: Sequence[Span]) -> int:
        """Return the bytes of ranges that are not here."""
        left = remaining_spans(merged_spans(spans), self._open().known)
        return sum(stop - start for start, stop in left)

    def opened(self, spans: Sequence[Span]) -> OpenCopy:
        """Return the file with some ranges here, not to be deleted while it is open."""
        return self._brought(spans)[0]

    def forget(self, spans: Sequence[Span]) -> None:
        """Take ranges for missing, because their bytes are not the right ones."""
        opened = self._open()
        with self._changing():
            known = self._listing.read() or ()
            opened.known = remaining_spans(known, merged_spans(spans))
            self._listing.write(opened.known)

    def _brought(
        self, spans: Sequence[Span], joined: int = JOINED, threads: int = THREADS
    ) -> tuple[OpenCopy, int]:
        """Return the open file and the bytes that were downloaded."""
        wanted = merged_spans(spans)
        while True:
            opened = self._open()
            missing = remaining_spans(wanted, opened.known)
            if not missing:
                return opened, 0
            if self._store is None:
                opened.known = self._listing.read() or ()
                self._check_offline(remaining_spans(wanted, opened.known))
                continue
            with self._changing():
                if not opened.is_current():
                    continue  # it was deleted by hand
                opened.known = self._listing.read() or ()  # others may have added some
                missing = merged_spans(remaining_spans(wanted, opened.known), joined)
                self._download_all(self._store, missing, opened, threads)
            moved = sum(stop - start for start, stop in missing)
            keep_within_bound(self._root, moved)
            return opened, moved

    def _check_offline(self, missing: Sequence[Span]) -> None:
        if missing:
            count = sum(stop - start for start, stop in missing)
            raise CatalogError(
                f"{count:,} bytes of {self._file.path} are not in the cache, and nothing "
                "is downloaded with --offline or PHASEZOO_OFFLINE. Read them once without."
            )

    def _open(self) -> OpenCopy:
        opened = OPEN.get(self.path, self._file.sha256)
        if opened is None:
            check_inside(self._root, self.path)
            opened = self._existing() if self.offline else self._created()
            OPEN.put(opened, self._file.sha256)
        return opened

    def _existing(self) -> OpenCopy:
        """Open what is here for reading alone: the cache may be read-only."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            opened = OpenCopy(self.path, os.open(self.path, flags))
        except FileNotFoundError:
            self._check_offline([(0, self._file.bytes)])
            raise
        except OSError as error:
            raise ShardCorrupt(f"{self.path} cannot be read: {error.strerror}.") from error
        known = self._listing.read()
        if opened.bytes != self._file.bytes or known is None:
            self._check_offline([(0, self._file.bytes)])
        opened.known = known or ()
        return opened

    def _created(self) -> OpenCopy:
        """Open the file, which is made if it is not here or is another one."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with cache_refusals(self.path):
            while True:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    opened = OpenCopy(self.path, os.open(self.path, flags, 0o666))
                except FileNotFoundError:  # the folder was deleted since
                    continue
                if not opened.is_current():
                    continue  # it was deleted before it was locked
                if not self._is_ready(opened):
                    self._prepare(opened)
                    continue
                os.utime(opened.descriptor)  # the last use
                return opened

    def _is_ready(self, opened: OpenCopy) -> bool:
        known = self._listing.read()
        opened.known = known or ()
        return known is not None and opened.bytes == self._file.bytes

    def _prepare(self, opened: OpenCopy) -> None:
        """Make a new file as long as the remote one, and delete a copy of another one."""
        with self._changing():
            if not opened.is_current() or self._is_ready(opened):
                return
            self._listing.delete()
            if opened.bytes == 0:
                os.ftruncate(opened.descriptor, self._file.bytes)
                self._listing.write([])
            else:  # others may read the other one, so it is not written to
                self.path.unlink()

    def _download_all(
        self, store: Store, spans: Sequence[Span], opened: OpenCopy, threads: int
    ) -> None:
        """Download ranges; those that arrived are listed, also if another one fails."""
        parts = [part for span in spans for part in _cut(span)]
        if not parts:
            return
        arrived: list[Span] = []
        listed = unlisted = 0
        with ThreadPoolExecutor(min(threads, len(parts)), "phasezoo-ranges") as pool:
            jobs = [pool.submit(self._download, store, part, opened) for part in parts]
            try:
                for part, job in zip(parts, jobs, strict=True):
                    job.result()
                    arrived.append(part)
                    unlisted += part[1] - part[0]
                    if unlisted >= LISTED:
                        self._list(opened, arrived[listed:])
                        listed, unlisted = len(arrived), 0
            finally:
                for job in jobs:
                    job.cancel()
                self._list(opened, arrived[listed:])

    def _list(self, opened: OpenCopy, arrived: Sequence[Span]) -> None:
        """List ranges once their bytes are on the disk."""
        if arrived:
            os.fsync(opened.descriptor)
            known = merged_spans([*opened.known, *arrived])
            self._listing.write(known)
            opened.known = known

    def _download(self, store: Store, span: Span, opened: OpenCopy) -> None:
        start, stop = span
        for block in stream_resumed(store, self._file.path, start, stop):
            start += _write(opened.descriptor, block, start)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock of those who add ranges."""
        path = self.path.with_suffix(".lock")
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with cache_refusals(self.path):
            descriptor = os.open(path, flags, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)


def _write(descriptor: int, block: bytes, start: int) -> int:
    """Write a whole block; return its length."""
    left = memoryview(block)
    while left:
        count = os.pwrite(descriptor, left, start)
        start, left = start + count, left[count:]
    return len(block)


def _cut(span: Span) -> list[Span]:
    start, stop = span
    return [
        (first, min(stop, first + LARGEST_PART))
        for first in range(start, stop, LARGEST_PART)
    ]
