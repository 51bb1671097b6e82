"""Downloads that resume, run side by side, and are proven before they count.

A file arrives in a folder of the cache under a hash of its path and content, where the
next attempt goes on.
It gets its name only when its size and digest are those of the commit record.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from catalog.errors import CatalogError, NotFound, ShardCorrupt
from catalog.names import content_id
from catalog.remote.store import BLOCK, Store, TransferInterrupted
from catalog.storage.manifest import File

THREADS = 8
"""Files that are downloaded at once."""

ATTEMPTS = 6
"""Attempts without any progress after which a download is given up."""

REFETCHES = 3
"""Times that a file whose digest is wrong is downloaded from its start."""

_SPARE = 64 << 20


def check_room(folder: Path, size: int) -> None:
    """Refuse a download for which the disk has no space.

    Raises
    ------
    CatalogError
        With both numbers of bytes.
    """
    at = folder
    while not at.exists():
        at = at.parent
    free = shutil.disk_usage(at).free
    if size + _SPARE > free:
        raise CatalogError(
            f"{size:,} bytes are to be downloaded, and {folder} has {free:,} bytes free. "
            "Nothing was downloaded. Free some space, or fetch a part with --where."
        )


def download(
    store: Store,
    files: Sequence[File],
    incoming: Path,
    *,
    there: Callable[[File], bool] = lambda file: False,
    verify: bool = True,
    moved: Callable[[int], None] = lambda count: None,
) -> dict[str, Path]:
    """Download files into a folder and prove them.

    Parameters
    ----------
    store : Store
    files : sequence of File
        Each with its size and digest.
    incoming : Path
        Existing folder of what has arrived; what is there from an earlier attempt is proven
        again and not downloaded.
    there : callable
        Tells if a file has got its name meanwhile, because another process has downloaded
        it. Such a file is not downloaded.
    verify : bool, default=True
        Compare digests. Sizes are always compared.
    moved : callable
        Called with numbers of bytes that have arrived, negative where a damaged file is
        thrown away; from several threads.

    Returns
    -------
    dict of str to Path
        Where each file that was downloaded is, by its path in the catalogue.

    Raises
    ------
    ShardCorrupt
        If a file is not the one that was committed after several downloads.
    CatalogError
        If the store does not answer any more. What has arrived stays for the next attempt.
    """
    stop = threading.Event()

    def fetch(file: File) -> Path | None:
        return _fetched(store, file, incoming, there, verify, moved, stop)

    with ThreadPoolExecutor(THREADS, "phasezoo-download") as pool:
        # The largest first: a large one that starts last would be waited for alone.
        queue = sorted(files, key=lambda file: -file.bytes)
        jobs = {file.path: pool.submit(fetch, file) for file in queue}
        try:
            arrived = {path: job.result() for path, job in jobs.items()}
            return {path: at for path, at in arrived.items() if at is not None}
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _fetched(
    store: Store,
    file: File,
    incoming: Path,
    there: Callable[[File], bool],
    verify: bool,
    moved: Callable[[int], None],
    stop: threading.Event,
) -> Path | None:
    """Return where a file has arrived; None if another process was quicker."""
    path = incoming / content_id([file.path, file.sha256], 64)
    with _locked(path, stop) as opened:
        if there(file):
            path.unlink(missing_ok=True)
            moved(file.bytes)
            return None
        for _ in range(REFETCHES):
            digest = _complete(store, file, opened, verify, moved, stop)
            if not verify or digest == file.sha256:
                return path
            moved(-file.bytes)
            opened.seek(0)
            opened.truncate()
    path.unlink(missing_ok=True)
    raise ShardCorrupt(
        f"{store.address}/{file.path} is not the file that was committed (its sha256 "
        f"differs, in each of {REFETCHES} downloads). It was thrown away. Ask whoever "
        "published it to publish it again."
    )


@contextlib.contextmanager
def _locked(path: Path, stop: threading.Event) -> Iterator[BinaryIO]:
    """Open a file that no other process downloads; wait for one that does."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "r+b", buffering=0) as opened:
            while True:
                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    _check_running(stop)
                    time.sleep(0.05)
            if _same(opened, path):  # else it was moved or deleted while we waited
                yield opened
                return


def _same(opened: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(opened.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _complete(
    store: Store,
    file: File,
    opened: BinaryIO,
    verify: bool,
    moved: Callable[[int], None],
    stop: threading.Event,
) -> str:
    """Download what a file lacks; return the digest of the whole."""
    digest = hashlib.sha256()
    done = _hashed(opened, file.bytes, digest if verify else None)
    moved(done)
    failures = 0
    while done < file.bytes:
        before = done
        try:
            for block in store.stream(file.path, done, file.bytes):
                _check_running(stop)
                opened.write(block)
                if verify:
                    digest.update(block)
                done += len(block)
                moved(len(block))
        except TransferInterrupted:
            failures = 0 if done > before else failures + 1
            if failures >= ATTEMPTS:
                raise
            stop.wait(min(10.0, 0.1 * 2**failures))
            _check_running(stop)
        except NotFound as error:
            raise NotFound(
                f"{store.address}/{file.path} is missing, but its snapshot names it. If a "
                "newer version was published meanwhile, fetch again."
            ) from error
    return digest.hexdigest()


def _hashed(opened: BinaryIO, size: int, digest: hashlib._Hash | None) -> int:
    """Go to the end of what is there, hashing it; return its length."""
    there = os.fstat(opened.fileno()).st_size
    if there > size:
        opened.truncate(0)
        there = 0
    opened.seek(0)
    if digest is None:
        opened.seek(there)
        return there
    while block := opened.read(BLOCK):
        digest.update(block)
    return there


def _check_running(stop: threading.Event) -> None:
    if stop.is_set():
        raise CatalogError("The download was stopped.")
