"""A catalogue in a folder that this machine can reach."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError, NotFound, ShardCorrupt
from catalog.remote.store import BLOCK, HeadMoved, Outgoing, RemoteHead, not_committed
from catalog.storage.card_files import CARD_FILE
from catalog.storage.folder import Folder
from catalog.storage.inside_folder import check_inside
from catalog.storage.snapshot import newest_snapshot


class FolderStore:
    """A folder as a store; see `catalog.remote.store.WritableStore`.

    Parameters
    ----------
    root : Path
        The folder; it is made when something is published to it.
    """

    def __init__(self, root: Path) -> None:
        self.address = str(root)
        self._folder = Folder(root)
        self._pinned = False
        self._marks = contextlib.ExitStack()
        self._marked: set[Path] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return FolderStore, (self._folder.root,)

    def head(self) -> RemoteHead:
        """Read HEAD; commits that it does not name yet are added to it first."""
        if not (self._folder.root / "manifests").is_dir():
            return RemoteHead(None, "")
        self._pin()
        try:
            newest_snapshot(self._folder)
        except OSError as error:
            if isinstance(error, CatalogError):
                raise
        try:
            return RemoteHead(self._folder.read(self._folder.head), "")
        except FileNotFoundError:
            return RemoteHead(None, "")

    def _pin(self) -> None:
        """Refuse to write to another folder that takes the place of this one later."""
        if not self._pinned:
            self._folder.pin()
            self._pinned = True

    def read(self, path: str, limit: int) -> bytes:
        """Read a small file."""
        return b"".join(self._pieces(path, 0, limit, whole=True))

    def stream(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """Read a part of a file, in pieces."""
        return self._pieces(path, start, stop, whole=False)

    def _pieces(self, path: str, start: int, stop: int, *, whole: bool) -> Iterator[bytes]:
        file_path = self._folder.root / path
        check_inside(self._folder.root, file_path)
        try:
            with file_path.open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                if whole and size > stop:
                    raise ShardCorrupt(f"{file_path} has {size:,} bytes; at most {stop:,}.")
                file.seek(start)
                left = stop - start
                while left > 0 and (block := file.read(min(BLOCK, left))):
                    left -= len(block)
                    yield block
        except FileNotFoundError as error:
            raise NotFound(f"{file_path} is missing.") from error
        except OSError as error:
            if isinstance(error, CatalogError):
                raise
            raise CatalogError(f"{file_path} cannot be read: {error.strerror}.") from error

    def present(self, files: Sequence[Outgoing]) -> set[str]:
        """Return the paths of files that the folder holds with the same content."""
        return {file.path for file in files if self._holds(file)}

    def _holds(self, file: Outgoing) -> bool:
        path = self._folder.root / file.path
        check_inside(self._folder.root, path)
        try:
            if path.stat().st_size != file.bytes:
                return False
            with path.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
        except FileNotFoundError:
            return False
        return digest == file.sha256

    def put(self, files: Sequence[Outgoing], moved: Callable[[int], None]) -> None:
        """Copy files into the folder; no record names them yet."""
        try:
            with self._folder.writing():
                if not self._pinned:
                    self._folder.create()
                    self._pin()
                self._folder.check_writable()
                for name in sorted({_writer(file.path) for file in files}):
                    self._mark(name)
                for file in files:
                    self._copy(file, moved)
        except BaseException:
            self._marks.close()
            raise

    def _mark(self, writer: str) -> None:
        """Lock the mark of a writer: `gc` leaves its files alone until the lock is gone.

        The mark of a publish that failed stays, so that `gc` knows whose files it finds.
        """
        path = self._folder.root / "writers" / f"{writer}.writer"
        check_inside(self._folder.root, path)
        file = self._marks.enter_context(path.open("wb"))
        fcntl.flock(file, fcntl.LOCK_SH)
        self._marked.add(path)

    def _copy(self, file: Outgoing, moved: Callable[[int], None]) -> None:
        path = self._folder.root / file.path
        check_inside(self._folder.root, path)
        self._folder.make(path.parent)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        digest = hashlib.sha256()
        try:
            with file.source.open("rb") as source, temporary.open("wb") as target:
                while block := source.read(BLOCK):
                    digest.update(block)
                    target.write(block)
                    moved(len(block))
                target.flush()
                os.fsync(target.fileno())
            if digest.hexdigest() != file.sha256:
                raise not_committed(file)
            self._folder.publish(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def commit(
        self,
        records: Mapping[str, bytes],
        head: bytes,
        replaces: RemoteHead,
        superseded: Collection[str] = (),
    ) -> None:
        """Write records and HEAD under the commit lock."""
        try:
            with self._folder.writing(), self._folder.lock():
                self._check_head(records, replaces)
                root = self._folder.root
                self._folder.write_all({root / p: data for p, data in records.items()})
                self._folder.write(self._folder.head, head)
                for path in superseded:
                    check_inside(root, root / path)
                    (root / path).unlink(missing_ok=True)
                for mark in self._marked:
                    mark.unlink(missing_ok=True)
                self._marked.clear()
        except HeadMoved:
            raise  # the marks stay locked: the files are for the next attempt
        except BaseException:
            self._marks.close()
            raise
        self._marks.close()

    def _check_head(self, records: Mapping[str, bytes], replaces: RemoteHead) -> None:
        now: bytes | None = None
        if self._folder.head.exists():
            now = self._folder.read(self._folder.head)
        if now != replaces.text:
            raise HeadMoved(f"{self.address} was changed by somebody else.")
        snapshots = (path for path in records if path.startswith("snapshots/"))
        if any((self._folder.root / path).exists() for path in snapshots):
            raise HeadMoved(f"{self.address} has a version of that number.")


def _writer(path: str) -> str:
    """Return the 12 digits by which `gc` recognises who is writing a file."""
    card_file = CARD_FILE.fullmatch(path)
    return card_file[1] if card_file else Path(path).name[:12]
