"""Writer of shards, which commits the files first and their manifest last.

Any number of processes may write at the same time, each to its own shards. The rename of a
manifest commits the shard. The lock is held only to number the commit and to rename.
"""

from __future__ import annotations

import fcntl
import json
import secrets
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from catalog.errors import CannotWrite, CatalogError, NotFound
from catalog.layout import Layout
from catalog.names import content_id, slug
from catalog.population import Population
from catalog.storage.card import write_card
from catalog.storage.folder import Folder
from catalog.storage.manifest import File, Manifest, Original
from catalog.storage.measures import check_copied, measure_table, result_columns
from catalog.storage.publishing import Pending, Publisher
from catalog.storage.run_tables import checked_tables, filled, tombstone_table
from catalog.storage.shard import Chunk, ShardSource, write_shard
from catalog.storage.snapshot import newest_snapshot, read_head
from catalog.storage.staging import Staged, StagedFiles
from catalog.storage.tensor_stats import tensor_stats
from catalog.storage.tensor_tables import chunks_table, tensors_table


@dataclass(frozen=True)
class Part:
    """One shard to publish.

    Attributes
    ----------
    runs, checkpoints : pyarrow.Table
        Metadata of the shard; see `Writer.commit`.
    staged : Staged, optional
        Weights of the shard, if it has any.
    sequence : int, optional
        Place in the order of commits, if the shard replaces an earlier one. Default: the
        next number.
    partial : Original, optional
        Shard elsewhere of which this one holds some rows or tensors.
    shard : str
        Name of a shard without weights that keeps that of another catalogue. Default: a
        new one.
    """

    runs: pa.Table
    checkpoints: pa.Table
    staged: Staged | None = None
    sequence: int | None = None
    partial: Original | None = None
    shard: str = ""


class Writer:
    """Writer of shards to one catalogue folder; use it as a context manager.

    Leaving the context publishes a snapshot. If the process is killed, earlier commits
    stay committed, and readers never see uncommitted files.

    Parameters
    ----------
    root : Path
        Catalogue folder. If the folder is renamed, deleted or replaced while the writer
        is open, writing raises an error, and no new folder is created.
    spare : bool, default=False
        On a full disk, free ``cache/`` and then the reserve. For operations that
        themselves free space.
    same : Folder, optional
        Folder as it was opened earlier; raise an error if another folder has replaced it.

    Raises
    ------
    NotFound
        If the folder does not exist.
    CatalogError
        If the folder cannot be written, or another folder has replaced it.
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
                raise NotFound(
                    f"There is no catalogue in {root}, so nothing can be written."
                )
            self._folder.check_writable()
        self._name = secrets.token_hex(6)
        self._count = 0
        self._files = StagedFiles(self._folder)
        self._publisher = Publisher(self._folder)
        self._mark = root / "writers" / f"{self._name}.writer"
        with self._folder.writing(), self._folder.lock():  # no sweep before it is locked
            self._lock = self._mark.open("wb")
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

        Commits do not depend on the snapshot. If it cannot be written, they stay valid and
        the method issues a warning.
        """
        if self._lock.closed:
            return
        try:
            with self._folder.writing():
                self._lock.close()
                self._mark.unlink(missing_ok=True)
                self._folder.check_same()
                newest_snapshot(self._folder)
                with (
                    self._folder.lock()
                ):  # HEAD must not change, nor a sweep run, meanwhile
                    write_card(self._folder, read_head(self._folder))
        except CannotWrite as error:
            if not self._publisher.committed:
                raise
            warnings.warn(
                f"The data is committed, but the new version was not written: {error} The "
                "next command that can write to the folder will write the version.",
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
        """Commit runs with their checkpoints, and optionally their weights.

        Parameters
        ----------
        runs : pyarrow.Table
            One row per run: ``run_id``, ``zoo``, ``source`` and any further columns.
        checkpoints : pyarrow.Table
            One row per checkpoint: ``run_id``, ``step`` and metrics. Row i belongs to
            row i of the population.
        population : Population, optional
            Weights of the checkpoints. Without it, the shard holds metrics only.
        architecture : str, default=""
            JSON text for `zoo.modules.build`; part of ``arch_id``.

        Returns
        -------
        Manifest
            Commit record of the new shard.

        Raises
        ------
        CatalogError
            If a column is missing or wrong, or the folder cannot be written.
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

    @property
    def files(self) -> StagedFiles:
        """Files that are not published yet, for shards that keep their name."""
        return self._files

    def stage(self, weights: ShardSource, architecture: str = "") -> Staged:
        """Write weights that readers do not see until they are published.

        Parameters
        ----------
        weights : ShardSource
            `Population`, or tensors as they are stored elsewhere.
        architecture : str, default=""
            JSON text for `zoo.modules.build`; part of ``arch_id``.

        Returns
        -------
        Staged
            Record of the written files, to be published in a `Part`.
        """
        shard = self._next_shard()
        layout = weights.layout
        arch_id = architecture_id(layout, architecture)
        chunks: list[Chunk] = []
        files: dict[str, File] = {}

        def write(temporary: Path) -> None:
            chunks[:] = write_shard(temporary, weights, architecture)  # may be called again

        with self._folder.writing():
            path = f"weights/{arch_id}/{shard}.parquet"
            files["weights"] = self._files.file(path, write, len(weights))
            tables = {
                "tensors": tensors_table(layout, arch_id),
                "tensor_stats": tensor_stats(weights, shard),
                "chunks": chunks_table(chunks, shard),
            }
            for kind, table in tables.items():
                files[kind] = self._files.table(kind, shard, table)
        keys = weights.table.select(["run_id", "step"])
        return Staged(shard, layout, arch_id, keys, files)

    def publish(
        self, parts: Sequence[Part], measures: Sequence[tuple[int, pa.Table]] = ()
    ) -> list[Manifest]:
        """Commit several shards at once: all of them, or none if one is wrong.

        All shards are checked and written before the first manifest is renamed into
        place, and no reader sees any shard until the last manifest is in place.

        Parameters
        ----------
        parts : sequence of Part
            Shards with checkpoints.
        measures : sequence of (int, pyarrow.Table)
            Place in the order of commits and table of shards of measures that are copied
            from another catalogue, with their ``measure``, ``measure_id`` and
            ``provenance``.

        Raises
        ------
        CatalogError
            If a column is missing or wrong, or the folder cannot be written.
        LayoutMismatch
            If the checkpoints and the weights of a part do not agree row by row.
        """
        tables = [
            checked_tables(part.runs, part.checkpoints, _layout_and_keys(part.staged))
            for part in parts
        ]
        for _, table in measures:
            check_copied(table)
        pending = []
        with self._folder.writing():
            for part, (runs, checkpoints) in zip(parts, tables, strict=True):
                record = self._write_metadata(part, runs, checkpoints)
                pending.append(
                    replace(record, sequence=part.sequence, partial=part.partial)
                )
            pending += [
                replace(self._write_measures(table), sequence=sequence)
                for sequence, table in measures
            ]
            return self._publish(pending)

    def discard(self) -> None:
        """Delete the files that were written but not published.

        Files that a record on disk names are never deleted: an interrupt may come after
        the rename of a record and before the writer notes the rename.
        """
        self._files.discard()

    def commit_measures(
        self, table: pa.Table, name: str, provenance: dict[str, Any]
    ) -> Manifest:
        """Commit measures, i.e. later results about known checkpoints.

        Parameters
        ----------
        table : pyarrow.Table
            ``run_id``, ``step`` and one column per result; the standard error of a
            result ``x`` is called ``x_se``. Null means not measured.
        name : str
            Name of the computation, e.g. ``"hessian"``.
        provenance : dict
            JSON values that describe the computation: split, samples, seed, code version.

        Raises
        ------
        CatalogError
            If a key is missing or null, or a result has the name of a documented column
            of runs or checkpoints.
        """
        measured = measure_table(table, name, provenance)
        with self._folder.writing():
            return self._publish([self._write_measures(measured)])[0]

    def _write_measures(self, table: pa.Table) -> Pending:
        """Write the file of a shard of measures."""
        shard = self._next_shard()
        files = {"measures": self._files.table("measures", shard, table)}
        columns = tuple(result_columns(table))
        return Pending(shard, "measures", files, measure_columns=columns)

    def _write_metadata(self, part: Part, runs: pa.Table, checkpoints: pa.Table) -> Pending:
        """Write the metadata files of a shard."""
        staged = part.staged
        shard = staged.shard if staged else part.shard or self._next_shard()
        if staged:
            runs = filled(runs, "arch_id", [staged.arch_id] * len(runs))
        row = range(len(checkpoints)) if staged else [None] * len(checkpoints)
        checkpoints = filled(checkpoints, "row", list(row))
        checkpoints = filled(checkpoints, "shard", [shard] * len(checkpoints))
        files = dict(staged.files) if staged else {}
        for kind, table in (("runs", runs), ("checkpoints", checkpoints)):
            files[kind] = self._files.table(kind, shard, table)
        if staged is None:
            return Pending(shard, "metrics", files)
        return Pending(shard, "weights", files, staged.arch_id, staged.layout.id)

    def commit_tombstones(self, table: pa.Table) -> Manifest:
        """Commit tombstones: the checkpoints no longer exist from the next version on.

        Parameters
        ----------
        table : pyarrow.Table
            ``run_id`` and ``step`` of the checkpoints to remove. A later commit of the
            same checkpoint restores it.

        Raises
        ------
        CatalogError
            If the table has no rows, further columns of checkpoints, or a missing key.
        """
        removed = tombstone_table(table)
        shard = self._next_shard()
        with self._folder.writing():
            files = {"tombstones": self._files.table("tombstones", shard, removed)}
            return self._publish([Pending(shard, "tombstones", files)])[0]

    def commit_pack(
        self, write: Mapping[str, Callable[[Path], int]], members: Sequence[Manifest]
    ) -> Manifest:
        """Commit a pack: the metadata of other shards as one file per kind.

        Parameters
        ----------
        write : mapping of str to callable
            Function for each kind of metadata that writes a file and returns the number
            of rows.
        members : sequence of Manifest
            Shards whose metadata the files hold; see `catalog.upkeep.compaction`.
        """
        shard = self._next_shard()
        files = {}
        with self._folder.writing():
            for kind, writer in write.items():
                files[kind] = self._files.file(f"{kind}/{shard}.parquet", writer, None)
            pending = Pending(shard, "pack", files, members=tuple(members))
            return self._publish([pending])[0]

    def _next_shard(self) -> str:
        if self._lock.closed:
            raise CatalogError("This writer is closed. Open a new one: catalog.writer()")
        self._count += 1
        return f"{self._name}-{self._count:06d}"

    def _publish(self, pending: Sequence[Pending]) -> list[Manifest]:
        group = self._next_shard() if len(pending) > 1 else ""
        manifests = self._publisher.publish(pending, group)
        self._files.keep()
        return manifests


def architecture_id(layout: Layout, architecture: str) -> str:
    """Return the folder name of the weights of one layout and architecture."""
    digest = content_id([layout.to_json(), architecture], 12)
    fields = json.loads(architecture) if architecture else {"name": "layout"}
    settings = [str(value) for key, value in fields.items() if key != "name"]
    words = slug(" ".join([str(fields.get("name", "")), *settings]))
    return f"{slug(words[:40])}-{digest}"


def _layout_and_keys(staged: Staged | None) -> tuple[Layout, pa.Table] | None:
    return None if staged is None else (staged.layout, staged.keys)
