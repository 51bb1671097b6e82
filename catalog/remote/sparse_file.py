"""A remote file of which some ranges are here: read once, read locally ever after.

The file is sparse and as long as the remote one, so that readers need not know. The ranges
that have arrived are listed beside it; a range is listed after its bytes are written, and
several processes add ranges under a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError
from catalog.remote.address import parse_address
from catalog.remote.store import Store, TransferInterrupted
from catalog.remote.stores import readable_store
from catalog.storage.manifest import File

JOINED = 256 << 10
"""Bytes between two ranges up to which they are downloaded as one."""

LARGEST_PART = 32 << 20
"""Bytes of one request; more are downloaded in several requests side by side."""

THREADS = 8
ATTEMPTS = 6

Span = tuple[int, int]
"""First byte, and the byte after the last."""


class SparseFile:
    """Local copy of parts of a remote file.

    Parameters
    ----------
    store : Store or None
        Where the file is; None to work offline, from what has arrived.
    file : File
        Its path and size.
    root : Path
        Folder below which it stands under the same path.
    """

    def __init__(self, store: Store | None, file: File, root: Path) -> None:
        self._store, self._file, self._root = store, file, root
        self.path = root / file.path
        self._listing = self.path.with_suffix(".ranges")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if os.fstat(descriptor).st_size != file.bytes:
                with self._locked():
                    self._listing.unlink(missing_ok=True)
                    os.ftruncate(descriptor, file.bytes)
        finally:
            os.close(descriptor)
        self._known = self._read_listing()

    def __reduce__(self) -> tuple[Any, ...]:
        address = None if self._store is None else self._store.address
        return _reopened, (address, self._file, self._root)

    def reopened(self) -> SparseFile:
        """Return the same file with connections of its own, e.g. after a fork."""
        make, arguments = self.__reduce__()
        file: SparseFile = make(*arguments)
        return file

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
        missing = remaining_spans(merged_spans(spans), self._known)
        if not missing:
            return 0
        with self._locked():
            self._known = self._read_listing()  # others may have added some
            missing = remaining_spans(merged_spans(spans), self._known)
            if not missing:
                return 0
            if self._store is None:
                count = sum(stop - start for start, stop in missing)
                raise CatalogError(
                    f"{count:,} bytes of {self._file.path} are not in the cache, and "
                    "--offline was asked for. Read them once without it."
                )
            wanted = merged_spans(missing, joined)
            parts = [part for span in wanted for part in _cut(span)]
            with ThreadPoolExecutor(min(threads, len(parts))) as pool:
                for _ in pool.map(self._download, parts):
                    pass
            self._known = merged_spans([*self._known, *wanted])
            self._write_listing()
        return sum(stop - start for start, stop in wanted)

    def missing(self, spans: Sequence[Span]) -> int:
        """Return the bytes of ranges that are not here."""
        left = remaining_spans(merged_spans(spans), self._known)
        return sum(stop - start for start, stop in left)

    def forget(self, spans: Sequence[Span]) -> None:
        """Download ranges anew when they are needed next, as what arrived is wrong."""
        with self._locked():
            known = remaining_spans(self._read_listing(), merged_spans(spans))
            self._known = known
            self._write_listing()

    def _download(self, span: Span) -> None:
        start, stop = span
        failures = 0
        store = self._store
        assert store is not None
        with self.path.open("r+b", buffering=0) as target:
            while start < stop:
                before = start
                try:
                    for block in store.stream(self._file.path, start, stop):
                        os.pwrite(target.fileno(), block, start)
                        start += len(block)
                except TransferInterrupted:
                    failures = 0 if start > before else failures + 1
                    if failures >= ATTEMPTS:
                        raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._listing.with_suffix(".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read_listing(self) -> list[Span]:
        """Return the ranges that have arrived; none if the list is missing or damaged."""
        try:
            value = json.loads(self._listing.read_bytes())
            spans = [(int(start), int(stop)) for start, stop in value]
        except (OSError, ValueError, TypeError):
            return []
        size = self._file.bytes
        return merged_spans([s for s in spans if 0 <= s[0] < s[1] <= size])

    def _write_listing(self) -> None:
        temporary = self._listing.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(self._known))
        os.replace(temporary, self._listing)


def _reopened(address: str | None, file: File, root: Path) -> SparseFile:
    store = None if address is None else readable_store(parse_address(address))
    return SparseFile(store, file, root)


def merged_spans(spans: Sequence[Span], gap: int = 0) -> list[Span]:
    """Return ranges in order, those that overlap or are close as one.

    Examples
    --------
    >>> merged_spans([(5, 9), (0, 3), (8, 12)])
    [(0, 3), (5, 12)]
    >>> merged_spans([(0, 3), (5, 9)], gap=2)
    [(0, 9)]
    """
    found: list[Span] = []
    for start, stop in sorted(spans):
        if found and start <= found[-1][1] + gap:
            found[-1] = found[-1][0], max(found[-1][1], stop)
        elif start < stop:
            found.append((start, stop))
    return found


def remaining_spans(spans: Sequence[Span], known: Sequence[Span]) -> list[Span]:
    """Return the parts of ordered ranges that other ordered ranges do not cover.

    Examples
    --------
    >>> remaining_spans([(0, 10), (20, 30)], [(2, 4), (8, 22)])
    [(0, 2), (4, 8), (22, 30)]
    """
    found: list[Span] = []
    passed = 0  # ranges of `known` that end before the current one: looked at once
    for start, stop in spans:
        while passed < len(known) and known[passed][1] <= start:
            passed += 1
        for at in range(passed, len(known)):
            first, last = known[at]
            if first >= stop:
                break
            if first > start:
                found.append((start, first))
            start = max(start, last)
        if start < stop:
            found.append((start, stop))
    return found


def _cut(span: Span) -> list[Span]:
    start, stop = span
    return [
        (first, min(stop, first + LARGEST_PART))
        for first in range(start, stop, LARGEST_PART)
    ]
