"""The catalogue's folder: where files stand, and writing that survives a kill.

A file appears under its name complete or not at all: temporary file, fsync, rename,
fsync of the folder. A writer holds a lock on its own file in ``writers/`` while it
lives; the operating system frees the lock when the process ends, however it ends, so
what a dead writer left behind can be told from what a living one is about to commit.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
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

_OWN = ("weights", *KINDS, "manifests", "snapshots", "writers")
_SHARD = r"[0-9a-f]{12}-[0-9]{6}"
SHARD_NAME = re.compile(_SHARD)
DATA_PATH = re.compile(
    rf"(?:weights/[a-z0-9]+(?:-[a-z0-9]+)*|{'|'.join(KINDS)})/({_SHARD})\.parquet"
)
"""The only paths that a manifest may name; group 1 is the shard."""

UNCLAIMED = 86_400.0
"""Seconds for which a file that no commit record and no writer claims is left alone."""

LARGEST_RECORD = 1 << 30
"""Bytes of a manifest or snapshot above which it is not parsed."""


class Folder:
    """Paths and atomic writes below one catalogue root.

    Parameters
    ----------
    root : Path
        The catalogue's folder.
    spare : bool, default=False
        On a full disk give up ``cache/`` and then the reserve, and try again: for what
        frees space in the end.
    strict : bool, default=False
        Take nothing for damaged that the operating system refuses to read.
    """

    def __init__(self, root: Path, *, spare: bool = False, strict: bool = False) -> None:
        if not is_unicode(str(root.absolute())):
            raise CatalogError(
                f"The path {str(root.absolute())!r} is not UTF-8, and DuckDB cannot open "
                "it. Rename the folder, or name a link to it that has another name."
            )
        self.root = root
        self.spare = spare
        self.strict = strict
        self._pinned: tuple[int, int] | None = None

    @property
    def head(self) -> Path:
        """File that names the newest snapshot."""
        return self.root / "HEAD"

    @property
    def cache(self) -> Path:
        """Folder of everything that can be rebuilt."""
        return self.root / "cache"

    def snapshot(self, version: int) -> Path:
        """File of one snapshot."""
        return self.root / "snapshots" / f"{version}.json"

    def versions(self) -> set[int]:
        """Versions that have a file, whether or not HEAD names one."""
        names = [path.name for path in (self.root / "snapshots").glob("*.json")]
        found = [re.fullmatch(r"([0-9]{1,12})\.json", name) for name in names]
        return {int(match[1]) for match in found if match}

    def manifest(self, shard: str) -> Path:
        """Commit record of one shard."""
        return self.root / "manifests" / f"{shard}.json"

    def manifest_names(self) -> set[str]:
        """Shards that have a commit record."""
        check_inside(self.root, self.root / "manifests")
        return {path.stem for path in (self.root / "manifests").glob("*.json")}

    def group(self, name: str) -> Path:
        """Empty file that completes the commit of several shards."""
        return self.root / "manifests" / f"{name}.group"

    def group_names(self) -> set[str]:
        """Commits of several shards that are complete.

        Ask before `manifest_names`: then all shards of these commits are among them.
        """
        check_inside(self.root, self.root / "manifests")
        return {path.stem for path in (self.root / "manifests").glob("*.group")}

    def read(self, path: Path) -> bytes:
        """Content of HEAD, a snapshot or a manifest.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ShardCorrupt
            If it cannot be read, is too large, or leads outside.
        CannotRead
            Instead, if the operating system refuses and the folder is ``strict``.
        """
        check_inside(self.root, path)
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > LARGEST_RECORD:
                    raise ShardCorrupt(f"{path} has {size:,} bytes: no commit record.")
                return file.read(size)
        except FileNotFoundError:
            raise
        except OSError as error:
            if isinstance(error, CatalogError):
                raise
            if self.strict:
                raise CannotRead(
                    f"{path} cannot be read: {error.strerror}. Nothing more was done: mend "
                    "the disk or the permissions first."
                ) from error
            raise ShardCorrupt(f"{path} cannot be read: {error.strerror}.") from error

    def create(self) -> None:
        """Make the folder, or raise if it cannot be written.

        Raises
        ------
        CatalogError
            If the folder is read-only or its disk is full.
        """
        with self.writing():
            self.root.mkdir(parents=True, exist_ok=True)
            self.check_writable()

    def check_writable(self) -> None:
        """Raise the system's refusal, as an `OSError`, if nothing can be written.

        Folders of an older or a foreign catalogue that are missing are made.
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
        """Remember which folder this is: later writes refuse another one in its place."""
        self._pinned = self._identity()

    def make(self, folder: Path) -> None:
        """Make a folder below the root; a root that is gone does not come back."""
        check_inside(self.root, folder)
        self.check_same()
        at = self.root
        for part in folder.relative_to(self.root).parts:
            at = at / part
            if not at.is_dir():
                self.with_room(partial(_mkdir, at))

    def check_same(self) -> None:
        """Raise if the folder was renamed, deleted or replaced since it was opened.

        Raises
        ------
        CatalogError
            If it was.
        """
        if self._pinned not in (None, self._identity()):
            raise CatalogError(
                f"{self.root} was renamed, deleted or replaced while it was written to. "
                "What was committed before is in the folder that it was; nothing more "
                "is written. Open the catalogue where it is now: --catalog DIR"
            )

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.root)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def with_room(self, write: Callable[[], Result]) -> Result:
        """Call a function that leaves nothing behind when it fails.

        On a full disk a folder with ``spare`` gives up what can be rebuilt, and the call
        is made again.
        """
        while True:
            try:
                return write()
            except OSError as error:
                if not (self.spare and is_full(error) and give_up(self.root)):
                    raise

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn the operating system's refusals into an error that says what to do."""
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
                "untouched. Mend the disk or the permissions, or write elsewhere with "
                "--catalog DIR."
            ) from error

    def write(self, path: Path, data: bytes) -> None:
        """Put a file in place, whole or not at all."""
        self.write_all({path: data})

    def write_all(self, files: Mapping[Path, bytes]) -> None:
        """Put files in place, the renames in their order; all or none unless killed.

        Raises
        ------
        CatalogError
            If a file is larger than what `read` takes.
        """
        for path, data in files.items():
            if len(data) > LARGEST_RECORD:
                raise CatalogError(
                    f"{path} would have {len(data):,} bytes; no reader takes more than "
                    f"{LARGEST_RECORD:,}. Nothing was written. Run 'phasezoo gc'."
                )
        self.with_room(partial(self._write_all, files))

    def remember(self, path: Path, data: bytes) -> None:
        """Put a file into ``cache/`` if that can be done.

        The cache is rebuilt, and may be deleted at any moment or stand on a full disk.
        """
        try:
            self._write_all({path: data})
        except CatalogError:
            raise  # a link that leads outside
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
        """Rename a finished, synced file to its name and sync the folder."""
        temporary.rename(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def lock(self, name: str = "commit") -> Iterator[None]:
        """Hold the named lock; short critical sections only."""
        path = self.root / "writers" / f"{name}.lock"
        check_inside(self.root, path)
        self.make(path.parent)
        with path.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def living_writers(self) -> set[str]:
        """Names of the writers whose process still runs."""
        living = set()
        for path in (self.root / "writers").glob("*.writer"):
            if path.exists() and not _regular(path):
                continue  # no writer makes a link or a pipe
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    living.add(path.stem)
        return living

    def leftovers(
        self,
        committed: set[str],
        cut: Collection[str] = (),
        dropped: Collection[str] = (),
    ) -> list[Path]:
        """Files that no manifest names and no living writer owns.

        Those of commits that were ``cut`` short are among them, manifests too. Call it
        under the commit lock. Files are listed before writers are looked at:
        a writer that starts in between has none of the listed files.

        A file may be on its way in, copied by a program that holds no lock: without the
        mark of a writer, and unless its shard was ``dropped``, it is none before a day has
        passed, and not at all where there is no commit record.
        """
        records = {self.manifest(shard) for shard in cut}
        lost = set(cut) - committed  # of the others, packs hold all but the record
        files = [
            path
            for path in self._files()
            if _regular(path) and (self._swept(path) or path in records)
        ]
        known = {path.stem for path in (self.root / "writers").glob("*.writer")}
        living = self.living_writers()
        recorded = any(True for _ in (self.root / "manifests").glob("*.json"))
        found = []
        for path in files:
            writer = re.search(r"([0-9a-f]{12})(?:-[0-9]{6})?\.", path.name)
            owner = writer[1] if writer else None
            if owner in living or not path.exists():
                continue
            shard = SHARD_NAME.match(path.name)  # of a temporary file: none
            named = shard and (shard[0] in committed or self.manifest(shard[0]).exists())
            if shard and named and shard[0] not in lost and path not in records:
                continue
            claimed = owner in known or path in records or (shard and shard[0] in dropped)
            if shard and not claimed and (not recorded or self._age(path) < UNCLAIMED):
                continue
            found.append(path)
        return sorted(found)

    def holds_files(self, shard: str) -> bool:
        """Tell if there is any file of a shard beside its commit record."""
        names = [self.root / kind / f"{shard}.parquet" for kind in KINDS]
        weights = (self.root / "weights").glob(f"*/{shard}.parquet")
        return any(map(_regular, names)) or any(True for _ in weights)

    def _age(self, path: Path) -> float:
        """Seconds since a file was written or got its name; 0 if it is gone."""
        try:
            return time.time() - path.stat().st_ctime
        except FileNotFoundError:
            return 0.0

    def _files(self) -> Iterator[Path]:
        """All files; a folder that goes while they are listed has none."""
        for folder, _, names in os.walk(self.root):
            yield from (Path(folder, name) for name in names)

    def _swept(self, path: Path) -> bool:
        inside = path.relative_to(self.root).parts
        if path.name.startswith(".") and path.suffix == ".tmp":
            return len(inside) == 1 or inside[0] in _OWN
        if path.suffix == ".writer":
            return inside[0] == "writers"
        ours = SHARD_NAME.fullmatch(path.stem) and path.suffix == ".parquet"
        return bool(ours) and inside[0] in ("weights", *KINDS)


def _mkdir(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir()


def _regular(path: Path) -> bool:
    """Whether it is a file and no link: links are not ours to delete."""
    return path.is_file() and not path.is_symlink()
