"""Folder of a catalogue: paths of its files, and writing that survives a kill.

A file appears under its name complete or not at all: it is written to a temporary file,
synced and renamed, and then its folder is synced. A live writer holds a lock on its own
file in ``writers/``. The operating system frees the lock when the process ends, however
it ends, so the files that a dead writer left can be distinguished from the files that a
live writer is about to commit.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from catalog.errors import CannotRead, CannotWrite, CatalogError, DiskFull, ShardCorrupt
from catalog.names import is_unicode
from catalog.storage.inside_folder import check_inside
from catalog.storage.reserve import free_bytes, give_up, is_full, keep_reserve

Result = TypeVar("Result")

KINDS = (
    "runs",
    "checkpoints",
    "tensors",
    "tensor_stats",
    "chunks",
    "measures",
    "tombstones",
)
"""Folders of small metadata files."""

_SHARD = r"[0-9a-f]{12}-[0-9]{6}"
SHARD_NAME = re.compile(_SHARD)
DATA_PATH = re.compile(
    rf"(?:weights/[a-z0-9]+(?:-[a-z0-9]+)*|{'|'.join(KINDS)})/({_SHARD})\.parquet"
)
"""Paths that a manifest may name, and no others; group 1 is the shard."""

LARGEST_RECORD = 1 << 30
"""Size in bytes above which a manifest or snapshot is not parsed."""


class Folder:
    """Paths and atomic writes below one catalogue root.

    Parameters
    ----------
    root : Path
        The catalogue's folder.
    spare : bool, default=False
        Whether to delete ``cache/`` and then the reserve if the disk is full, and to try
        again. Meant for operations that free space in the end.
    strict : bool, default=False
        Whether to raise `CannotRead` instead of `ShardCorrupt` for a file that the
        operating system refuses to read.
    """

    def __init__(self, root: Path, *, spare: bool = False, strict: bool = False) -> None:
        if not is_unicode(str(root.absolute())):
            raise CatalogError(
                f"The path {str(root.absolute())!r} is not UTF-8, so DuckDB cannot open "
                "it. Rename the folder, or name a link to it whose path is UTF-8."
            )
        self.root = root
        self.spare = spare
        self.strict = strict
        self._pinned: tuple[int, int] | None = None

    @property
    def head(self) -> Path:
        """Path of the file that names the newest snapshot."""
        return self.root / "HEAD"

    @property
    def cache(self) -> Path:
        """Path of the folder whose files can all be rebuilt."""
        return self.root / "cache"

    def snapshot(self, version: int) -> Path:
        """Return the path of one snapshot."""
        return self.root / "snapshots" / f"{version}.json"

    def versions(self) -> set[int]:
        """Return all versions that have a file, whether or not HEAD names them."""
        names = [path.name for path in (self.root / "snapshots").glob("*.json")]
        matches = [re.fullmatch(r"([0-9]{1,12})\.json", name) for name in names]
        return {int(match[1]) for match in matches if match}

    def manifest(self, shard: str) -> Path:
        """Return the path of the commit record of one shard."""
        return self.root / "manifests" / f"{shard}.json"

    def manifest_names(self) -> set[str]:
        """Return the names of the shards that have a commit record."""
        check_inside(self.root, self.root / "manifests")
        return {path.stem for path in (self.root / "manifests").glob("*.json")}

    def group(self, name: str) -> Path:
        """Return the path of the empty file that completes a commit of several shards."""
        return self.root / "manifests" / f"{name}.group"

    def group_names(self) -> set[str]:
        """Return the names of the complete commits of several shards.

        Call it before `manifest_names`, which then returns all shards of these commits.
        """
        check_inside(self.root, self.root / "manifests")
        return {path.stem for path in (self.root / "manifests").glob("*.group")}

    def read(self, path: Path) -> bytes:
        """Return the content of HEAD, a snapshot or a manifest.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ShardCorrupt
            If the file cannot be read, is too large, or is a link that leads outside.
        CannotRead
            If the operating system refuses to read the file and the folder is ``strict``.
        """
        check_inside(self.root, path)
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > LARGEST_RECORD:
                    raise ShardCorrupt(
                        f"{path} has {size:,} bytes and is too large for a commit record."
                    )
                return file.read(size)
        except FileNotFoundError:
            raise
        except OSError as error:
            if isinstance(error, CatalogError):
                raise
            if self.strict:
                raise CannotRead(
                    f"{path} cannot be read: {error.strerror}. Repair the disk or the "
                    "permissions first; nothing more was done."
                ) from error
            raise ShardCorrupt(f"{path} cannot be read: {error.strerror}.") from error

    def create(self) -> None:
        """Create the folder and check that it can be written.

        Raises
        ------
        CatalogError
            If the folder is read-only or its disk is full.
        """
        with self.writing():
            self.root.mkdir(parents=True, exist_ok=True)
            self.check_writable()

    def check_writable(self) -> None:
        """Check that files can be written, and create subfolders that are missing.

        Subfolders may be missing in an older or a foreign catalogue.

        Raises
        ------
        OSError
            If the operating system refuses to write.
        """
        for name in ("manifests", "snapshots", "writers"):
            self.make(self.root / name)
        probe = self.root / "writers" / f".{secrets.token_hex(6)}.tmp"

        def write() -> None:
            probe.write_bytes(b"probe")

        try:
            self.with_room(write)
        finally:
            probe.unlink(missing_ok=True)
        keep_reserve(self.root)

    def pin(self) -> None:
        """Remember the folder, so that later writes refuse another one in its place."""
        self._pinned = self._identity()

    def make(self, folder: Path) -> None:
        """Create a folder below the root, but not a root that was deleted."""
        check_inside(self.root, folder)
        self.check_same()
        current = self.root
        for part in folder.relative_to(self.root).parts:
            current = current / part
            if not current.is_dir():
                self.with_room(partial(_mkdir, current))

    def check_same(self) -> None:
        """Check that the folder is still the one that `pin` remembered.

        Raises
        ------
        CatalogError
            If the folder was renamed, deleted or replaced.
        """
        if self._pinned not in (None, self._identity()):
            raise CatalogError(
                f"{self.root} was renamed, deleted or replaced while it was written to. "
                "Earlier commits are in the original folder; nothing more is written. Open "
                "the catalogue where it is now: --catalog DIR"
            )

    def _identity(self) -> tuple[int, int] | None:
        """Return device and inode of the root, or None if there is no root."""
        try:
            status = os.stat(self.root)
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def with_room(self, write: Callable[[], Result]) -> Result:
        """Call a function, again after freeing space if the disk is full.

        Only a folder with ``spare`` frees space, by deleting the cache and the reserve.
        The function must leave nothing behind when it fails.
        """
        while True:
            try:
                return write()
            except OSError as error:
                if not (self.spare and is_full(error) and give_up(self.root)):
                    raise

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn errors of the operating system into errors that say what to do.

        Raises
        ------
        DiskFull
            If the disk is full.
        CannotWrite
            If the operating system refuses for another reason.
        CatalogError
            If the folder was renamed, deleted or replaced.
        """
        try:
            yield
        except CatalogError:
            raise
        except OSError as error:
            self.check_same()
            reason = error.strerror or str(error)
            if is_full(error):
                reason = os.strerror(error.errno or errno.ENOSPC)
                with contextlib.suppress(OSError):
                    reason = f"{reason} ({free_bytes(self.root):,} bytes are free)"
                raise DiskFull(
                    f"Cannot write to {self.root}: {reason}. Committed shards are "
                    "untouched. Free some space, or write elsewhere with --catalog DIR."
                ) from error
            raise CannotWrite(
                f"Cannot write to {self.root}: {reason}. Committed shards are "
                "untouched. Repair the disk or the permissions, or write elsewhere with "
                "--catalog DIR."
            ) from error

    def write(self, path: Path, data: bytes) -> None:
        """Write one file atomically."""
        self.write_all({path: data})

    def write_all(self, files: Mapping[Path, bytes]) -> None:
        """Write several files atomically, and rename them in the given order.

        After an error none of the new files exists; after a kill some may.

        Raises
        ------
        CatalogError
            If a file is larger than `read` accepts.
        """
        for path, data in files.items():
            if len(data) > LARGEST_RECORD:
                raise CatalogError(
                    f"{path} would have {len(data):,} bytes, but readers accept at most "
                    f"{LARGEST_RECORD:,}. Nothing was written. Run 'phasezoo gc'."
                )
        self.with_room(partial(self._write_all, files))

    def remember(self, path: Path, data: bytes) -> None:
        """Write a file into ``cache/``, and ignore errors of the operating system.

        The cache can be rebuilt. It may be deleted at any moment, or the disk may be full.

        Raises
        ------
        CatalogError
            If a link leads outside, or the folder was renamed, deleted or replaced.
        """
        try:
            self._write_all({path: data})
        except CatalogError:
            raise  # for example a link that leads outside
        except OSError:
            pass

    def _write_all(self, files: Mapping[Path, bytes]) -> None:
        ready: dict[Path, Path] = {}
        new = [path for path in files if not path.exists()]
        try:
            for path, data in files.items():
                self.make(path.parent)
                ready[path] = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
                with ready[path].open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            self.check_same()
            for path, temporary in ready.items():
                self.publish(temporary, path)
        except BaseException:
            for path in (*ready.values(), *reversed(new)):
                path.unlink(missing_ok=True)
            raise

    def publish(self, temporary: Path, path: Path) -> None:
        """Rename a synced temporary file to its final name, and sync its folder."""
        temporary.rename(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def lock(self, name: str = "commit") -> Iterator[None]:
        """Hold the named lock during the block, which should be short."""
        path = self.root / "writers" / f"{name}.lock"
        check_inside(self.root, path)
        self.make(path.parent)
        with path.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def living_writers(self) -> set[str]:
        """Return the names of the writers whose process still runs."""
        living = set()
        for path in (self.root / "writers").glob("*.writer"):
            if path.exists() and not regular(path):
                continue  # writers create neither links nor pipes
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    living.add(path.stem)
        return living

    def holds_files(self, shard: str) -> bool:
        """Return whether a shard has any file besides its commit record."""
        names = [self.root / kind / f"{shard}.parquet" for kind in KINDS]
        weights = (self.root / "weights").glob(f"*/{shard}.parquet")
        return any(map(regular, names)) or any(True for _ in weights)


def _mkdir(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir()


def regular(path: Path) -> bool:
    """Return whether a path is a file and not a link; links are never deleted."""
    return path.is_file() and not path.is_symlink()
