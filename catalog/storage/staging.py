"""Files of shards that are written whole, and that no commit record names yet."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import ShardCorrupt
from catalog.layout import Layout
from catalog.storage.folder import Folder
from catalog.storage.inside_folder import check_inside
from catalog.storage.manifest import File
from catalog.storage.shard import read_footer


@dataclass(frozen=True)
class Staged:
    """Written weights of a shard that no manifest names yet.

    Attributes
    ----------
    shard : str
        Name of the shard.
    layout : Layout
        Layout of the weights.
    arch_id : str
        Folder of the weights.
    keys : pyarrow.Table
        ``run_id`` and ``step`` of every row.
    files : mapping of str to File
        Files on disk, by kind.
    """

    shard: str
    layout: Layout
    arch_id: str
    keys: pa.Table
    files: dict[str, File]


class StagedFiles:
    """Files that one writer wrote since its last commit.

    Parameters
    ----------
    folder : Folder
        Folder of the catalogue.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._written: list[Path] = []

    def table(self, kind: str, shard: str, table: pa.Table) -> File:
        """Write one metadata table of a shard."""

        def write(temporary: Path) -> None:
            path = temporary.absolute()  # Arrow takes a relative x:y for a server's address
            pq.write_table(table, path, compression="zstd", row_group_size=1 << 17)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())

        return self.file(f"{kind}/{shard}.parquet", write, len(table))

    def file(
        self, path: str, write: Callable[[Path], int | None], rows: int | None
    ) -> File:
        """Write a Parquet file under a temporary name, check it and rename it.

        Parameters
        ----------
        path : str
            Path below the root.
        write : callable
            Writes and syncs the file, and may return the number of rows. It may be called
            again if the disk is full.
        rows : int, optional
            Expected number of rows. Default: the number that ``write`` returns.

        Raises
        ------
        ShardCorrupt
            If the file holds another number of rows.
        """
        target = self._folder.root / path
        check_inside(self._folder.root, target)
        while True:
            self._folder.make(target.parent)
            try:
                return self._folder.with_room(
                    partial(self._write_whole, path, target, write, rows)
                )
            except FileNotFoundError:
                if target.parent.is_dir():
                    raise
                # A writer that discards its files removed the empty folder: try again.

    def _write_whole(
        self, path: str, target: Path, write: Callable[[Path], int | None], rows: int | None
    ) -> File:
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            written = write(temporary)
            expected = written or 0 if rows is None else rows
            if read_footer(temporary).num_rows != expected:
                raise ShardCorrupt(
                    f"{temporary} does not hold the {expected:,} rows that were written. "
                    "Nothing was committed; check the disk."
                )
            with temporary.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = temporary.stat().st_size
            self._written.append(target)  # first: a failed publish may have renamed it
            self._folder.publish(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return File(path, size, digest, expected)

    def keep(self) -> None:
        """Note that all files are committed, so that `discard` leaves them."""
        self._written.clear()

    def discard(self) -> None:
        """Delete the files that no record on disk names.

        An interrupt may come after the rename of a record and before `keep`.
        """
        for path in self._written:
            if self._folder.manifest(path.stem).exists():
                continue
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty: other writers use the folder
                path.parent.rmdir()
        self._written.clear()
