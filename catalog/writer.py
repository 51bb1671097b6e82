"""Committing shards: files first, their manifest last.

Any number of processes write at once; each owns its shards. A commit is the rename of
its manifest. The lock is held only to number the commit and for that rename.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from catalog import schema
from catalog.errors import CannotWrite, CatalogError, NotFound, ShardCorrupt
from catalog.layout import Layout
from catalog.names import canonical_json, content_id, slug
from catalog.population import Population
from catalog.storage.card import write_card
from catalog.storage.folder import Folder
from catalog.storage.inside_folder import check_inside
from catalog.storage.manifest import File, Manifest, read_manifest
from catalog.storage.measures import measure_table
from catalog.storage.run_tables import checked_tables, filled
from catalog.storage.shard import (
    Chunk,
    ShardSource,
    footer_digest,
    read_footer,
    write_shard,
)
from catalog.storage.snapshot import newest_snapshot, read_head
from catalog.storage.tensor_stats import tensor_stats
from catalog.storage.tensor_tables import chunks_table, tensors_table
from catalog.version import __version__


@dataclass(frozen=True)
class Staged:
    """The weights of a shard that no manifest names yet.

    Attributes
    ----------
    shard : str
        Its name.
    layout : Layout
        Of the weights.
    arch_id : str
        Folder of the weights.
    keys : pyarrow.Table
        ``run_id`` and ``step`` of every row.
    files : mapping of str to File
        What stands on disk, by kind.
    """

    shard: str
    layout: Layout
    arch_id: str
    keys: pa.Table
    files: dict[str, File]


@dataclass(frozen=True)
class Part:
    """One shard to publish.

    Attributes
    ----------
    runs, checkpoints : pyarrow.Table
        Its metadata; see `Writer.commit`.
    staged : Staged, optional
        Its weights, if it has any.
    sequence : int, optional
        Place in the order of commits, if it stands for an earlier shard.
    """

    runs: pa.Table
    checkpoints: pa.Table
    staged: Staged | None = None
    sequence: int | None = None


class Writer:
    """Writes shards into one catalogue folder; use it as a context manager.

    Leaving the context publishes a snapshot. What was committed before a kill stays
    committed; what was not, no reader ever sees.

    Parameters
    ----------
    root : Path
        A catalogue's folder. If it is renamed, deleted or replaced while the writer is
        open, writing is an error, and no folder is made in its place.
    spare : bool, default=False
        On a full disk give up ``cache/`` and then the reserve: for what frees space.
    same : Folder, optional
        The folder as it was opened before: another one in its place is refused.

    Raises
    ------
    NotFound
        If there is no such folder.
    CatalogError
        If nothing can be written there, or another folder stands there now.
    """

    def __init__(
        self, root: Path, *, spare: bool = False, same: Folder | None = None
    ) -> None:
        root = root.absolute()
        self._folder = Folder(root, spare=spare)
        if same is not None:
            same.check_same()
        self._folder.pin()
        with self._folder.writing():
            if not root.is_dir():
                raise NotFound(f"There is no catalogue in {root}; it cannot be written to.")
            self._folder.check_writable()
        self._name = secrets.token_hex(6)
        self._count = 0
        self._committed = False
        self._sequences: dict[str, int] = {}
        self._written: list[Path] = []
        self._own = root / "writers" / f"{self._name}.writer"
        with self._folder.writing(), self._folder.lock():  # no sweep in between
            self._lock = self._own.open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.discard()
        self.close()

    def close(self) -> None:
        """Publish a snapshot of all commits and stop writing.

        A snapshot is a hint: where it cannot be written, what was committed is there all
        the same, and a warning says so.
        """
        if self._lock.closed:
            return
        try:
            with self._folder.writing():
                self._lock.close()
                self._own.unlink(missing_ok=True)
                self._folder.check_same()
                newest_snapshot(self._folder)
                with self._folder.lock():  # of the newest snapshot, no sweep in between
                    write_card(self._folder, read_head(self._folder))
        except CannotWrite as error:
            if not self._committed:
                raise
            warnings.warn(
                f"It is done, but the new version was not written: {error} The next "
                "command that can write does that.",
                RuntimeWarning,
                stacklevel=2,
            )

    def commit(
        self,
        runs: pa.Table,
        checkpoints: pa.Table,
        population: Population | None = None,
        architecture: str = "",
    ) -> Manifest:
        """Commit runs with their checkpoints, and their weights if there are any.

        Parameters
        ----------
        runs : pyarrow.Table
            One row per run: ``run_id``, ``zoo``, ``source`` and whatever is known.
        checkpoints : pyarrow.Table
            One row per checkpoint: ``run_id``, ``step`` and metrics; row i is row i
            of the population.
        population : Population, optional
            The weights. Without, the shard holds metrics only.
        architecture : str, default=""
            JSON text for `zoo.modules.build`; part of ``arch_id``.

        Returns
        -------
        Manifest

        Raises
        ------
        CatalogError
            If columns are wrong, or the folder cannot be written.
        LayoutMismatch
            If checkpoints and population do not agree row by row.
        """
        keys = None if population is None else (population.layout, population.table)
        checked_tables(runs, checkpoints, keys)  # before any weight is written
        try:
            staged = None if population is None else self.stage(population, architecture)
            return self.publish([Part(runs, checkpoints, staged)])[0]
        except BaseException:
            self.discard()
            raise

    def stage(self, weights: ShardSource, architecture: str = "") -> Staged:
        """Write weights that stay invisible until they are published.

        Parameters
        ----------
        weights : Rows
            A `Population`, or tensors as they were stored elsewhere.
        architecture : str, default=""
            As in `commit`.
        """
        shard = self._next_shard()
        layout = weights.layout
        arch_id = architecture_id(layout, architecture)
        chunks: list[Chunk] = []
        files: dict[str, File] = {}

        def write(temporary: Path) -> None:
            chunks[:] = write_shard(temporary, weights, architecture)  # it may be retried

        with self._folder.writing():
            path = f"weights/{arch_id}/{shard}.parquet"
            files["weights"] = self._file(path, write, len(weights))
            tables = {
                "tensors": tensors_table(layout, arch_id),
                "tensor_stats": tensor_stats(weights, shard),
                "chunks": chunks_table(chunks, shard),
            }
            for kind, table in tables.items():
                files[kind] = self._table(kind, shard, table)
        keys = weights.table.select(["run_id", "step"])
        return Staged(shard, layout, arch_id, keys, files)

    def publish(self, parts: Sequence[Part]) -> list[Manifest]:
        """Commit several shards at once: all of them, or none if one is wrong.

        Everything is checked and written before the first manifest gets its name, and
        until the last has it no reader sees any of them.

        Raises
        ------
        CatalogError
            As `commit`.
        """
        tables = [checked_tables(p.runs, p.checkpoints, _rows(p.staged)) for p in parts]
        pending = []
        with self._folder.writing():
            for part, (runs, checkpoints) in zip(parts, tables, strict=True):
                described = self._described(part.staged, runs, checkpoints)
                pending.append(replace(described, sequence=part.sequence))
            return self._publish(pending)

    def discard(self) -> None:
        """Delete what was written and not published.

        An interrupt may come after a record got its name and before that was noted: files
        that a record on disk names are never deleted.
        """
        for path in self._written:
            if self._folder.manifest(path.stem).exists():
                continue
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others write there too
                path.parent.rmdir()
        self._written.clear()

    def commit_measures(
        self, table: pa.Table, name: str, provenance: dict[str, Any]
    ) -> Manifest:
        """Commit later results about known checkpoints.

        Parameters
        ----------
        table : pyarrow.Table
            ``run_id``, ``step`` and one column per result; the standard error of a
            result ``x`` is called ``x_se``. Null means not measured.
        name : str
            What computed them, e.g. ``"hessian"``.
        provenance : dict
            JSON values: split, samples, seed, code version.

        Raises
        ------
        CatalogError
            If a column is one of the run's or checkpoint's own.
        """
        measured = measure_table(table, name, provenance)
        columns = [c for c in table.column_names if c not in ("run_id", "step")]
        shard = self._next_shard()
        with self._folder.writing():
            files = {"measures": self._table("measures", shard, measured)}
            pending = _Pending(shard, "measures", files, measure_columns=tuple(columns))
            return self._publish([pending])[0]

    def _described(
        self, staged: Staged | None, runs: pa.Table, checkpoints: pa.Table
    ) -> _Pending:
        """Write the metadata of a shard."""
        shard = staged.shard if staged else self._next_shard()
        if staged:
            runs = filled(runs, "arch_id", [staged.arch_id] * len(runs))
        row = range(len(checkpoints)) if staged else [None] * len(checkpoints)
        checkpoints = filled(checkpoints, "row", list(row))
        checkpoints = filled(checkpoints, "shard", [shard] * len(checkpoints))
        files = dict(staged.files) if staged else {}
        for kind, table in (("runs", runs), ("checkpoints", checkpoints)):
            files[kind] = self._table(kind, shard, table)
        if staged is None:
            return _Pending(shard, "metrics", files)
        return _Pending(shard, "weights", files, staged.arch_id, staged.layout.id)

    def commit_tombstones(self, table: pa.Table) -> Manifest:
        """Remove checkpoints: from the next version on they do not exist.

        Parameters
        ----------
        table : pyarrow.Table
            ``run_id`` and ``step``. What is committed again afterwards exists again.

        Raises
        ------
        CatalogError
            If there are no rows or a key is missing.
        """
        keys = [
            column for column in schema.CHECKPOINTS if column.name in table.column_names
        ]
        fields = {k.name: schema.cast(table[k.name], k, "tombstones") for k in keys}
        nulls = sum(values.null_count for values in fields.values())
        if set(fields) != {"run_id", "step"} or not len(table) or nulls:
            raise CatalogError(
                "Tombstones need a run_id and a step in each of at least one row. Got "
                f"{len(table)} rows of {', '.join(table.column_names)}, {nulls} nulls."
            )
        shard = self._next_shard()
        with self._folder.writing():
            files = {"tombstones": self._table("tombstones", shard, pa.table(fields))}
            return self._publish([_Pending(shard, "tombstones", files)])[0]

    def commit_pack(
        self, write: Mapping[str, Callable[[Path], int]], members: Sequence[Manifest]
    ) -> Manifest:
        """Commit the metadata of other shards as one file of each kind.

        Parameters
        ----------
        write : mapping of str to callable
            By kind of metadata: writes a file and returns its number of rows.
        members : sequence of Manifest
            The shards that the files hold; see `catalog.upkeep.compaction`.
        """
        shard = self._next_shard()
        files = {}
        with self._folder.writing():
            for kind, writer in write.items():
                files[kind] = self._file(f"{kind}/{shard}.parquet", writer, None)
            pending = _Pending(shard, "pack", files, members=tuple(members))
            return self._publish([pending])[0]

    def _next_shard(self) -> str:
        if self._lock.closed:
            raise CatalogError("This writer is closed; open another: catalog.writer()")
        self._count += 1
        return f"{self._name}-{self._count:06d}"

    def _table(self, kind: str, shard: str, table: pa.Table) -> File:
        def write(temporary: Path) -> None:
            own = temporary.absolute()  # x:y would be the address of a server
            pq.write_table(table, own, compression="zstd", row_group_size=1 << 17)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())

        return self._file(f"{kind}/{shard}.parquet", write, len(table))

    def _file(
        self, path: str, write: Callable[[Path], int | None], rows: int | None
    ) -> File:
        target = self._folder.root / path
        check_inside(self._folder.root, target)
        while True:
            self._folder.make(target.parent)
            try:
                return self._folder.with_room(
                    partial(self._whole, path, target, write, rows)
                )
            except FileNotFoundError:
                if target.parent.is_dir():
                    raise  # else another writer, which discards, found it empty

    def _whole(
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
            self._written.append(target)  # before: it may have its name when this fails
            self._folder.publish(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return File(path, size, digest, expected)

    def _publish(self, pending: Sequence[_Pending]) -> list[Manifest]:
        footers = [self._footer(part) for part in pending]
        group = self._next_shard() if len(pending) > 1 else ""
        manifests: list[Manifest] = []
        with self._folder.lock():
            for part, (footer_sha256, footer_bytes) in zip(pending, footers, strict=True):
                manifest = Manifest(
                    created=datetime.now(UTC).isoformat(timespec="seconds"),
                    writer=f"phasezoo {__version__}",
                    footer_sha256=footer_sha256,
                    footer_bytes=footer_bytes,
                    group=group,
                    **vars(part) | {"sequence": part.sequence or self._next_sequence()},
                )
                self._sequences[manifest.shard] = manifest.sequence
                manifests.append(manifest)
            records = {self._folder.manifest(m.shard): _record(m) for m in manifests}
            if group:
                records[self._folder.group(group)] = b""  # the last: it commits them all
            self._folder.write_all(records)
            self._committed = True
        self._written.clear()
        return manifests

    def _footer(self, part: _Pending) -> tuple[str, int]:
        if "weights" not in part.files:
            return "", 0
        return footer_digest(self._folder.root / part.files["weights"].path)

    def _next_sequence(self) -> int:
        head = read_head(self._folder)
        self._sequences |= {m.shard: m.sequence for m in head.manifests}
        for shard in self._folder.manifest_names() - self._sequences.keys():
            try:
                self._sequences[shard] = read_manifest(self._folder, shard).sequence
            except ShardCorrupt:
                if shard not in head.dropped:
                    raise
        return 1 + max(self._sequences.values(), default=0)


@dataclass(frozen=True)
class _Pending:
    """What a manifest will say, but for its time and, mostly, its number."""

    shard: str
    content: str
    files: dict[str, File]
    arch_id: str = ""
    layout_id: str = ""
    measure_columns: tuple[str, ...] = field(default=())
    members: tuple[Manifest, ...] = ()
    sequence: int | None = None


def _record(manifest: Manifest) -> bytes:
    """The commit record as bytes, proven to be what readers take.

    Raises
    ------
    CatalogError
        If they would refuse it: no record of it is written.
    """
    text = canonical_json(manifest.to_json())
    try:
        read = Manifest.from_json(json.loads(text), f"The record of {manifest.shard}")
    except ShardCorrupt as error:
        raise CatalogError(f"Nothing was committed. {error}") from error
    if read.to_json() != manifest.to_json():
        raise CatalogError(
            f"Nothing was committed: the record of shard {manifest.shard} would be read as "
            "another one. Report this."
        )
    return text.encode()


def architecture_id(layout: Layout, architecture: str) -> str:
    """Folder name of the weights of one layout and architecture."""
    digest = content_id([layout.to_json(), architecture], 12)
    parts = json.loads(architecture) if architecture else {"name": "layout"}
    rest = [str(value) for key, value in parts.items() if key != "name"]
    words = slug(" ".join([str(parts.get("name", "")), *rest]))
    return f"{slug(words[:40])}-{digest}"


def _rows(staged: Staged | None) -> tuple[Layout, pa.Table] | None:
    return None if staged is None else (staged.layout, staged.keys)
