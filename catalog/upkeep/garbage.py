"""Garbage collection: removed shards, superseded files and old versions.

A file is deleted only after the publication of a version that does not need it. Commit
records are deleted before their files, and tombstones last. Shards are dropped before the
packs that hold their rows are rewritten, so that no two packs ever hold the same shard. A
kill at any moment leaves a catalogue that reads the same; `gc` or `verify` finishes the
work.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import duckdb

from catalog.catalog import Catalog
from catalog.errors import CatalogError, ShardCorrupt
from catalog.index.tables import connect
from catalog.storage.card import write_card
from catalog.storage.folder import Folder
from catalog.storage.inside_folder import check_inside
from catalog.storage.leftovers import delete, find_leftovers
from catalog.storage.manifest import Manifest, read_manifest
from catalog.storage.metadata import check_hash, metadata_source
from catalog.storage.reserve import keep_reserve, needing, version_bytes
from catalog.storage.snapshot import (
    Snapshot,
    extended,
    newest_snapshot,
    next_version,
    publish_snapshot,
    read_head,
    read_snapshot,
)
from catalog.upkeep.compaction import names, pack
from catalog.upkeep.rewriting import WASTE, rewrite, wasteful

_ADVICE = "'phasezoo gc --waste 1' needs the least."

GRACE = 600.0
"""Seconds for which a superseded version is kept, as it may still be in use."""


@dataclass
class Garbage:
    """Result of `collect`.

    Attributes
    ----------
    shards : list of str
        Shards that were dropped because all of their checkpoints are removed.
    rewritten : list of str
        Shards that were dropped after their remaining checkpoints were committed again.
    files : list of str
        Deleted files (in a rehearsal: files to delete), relative to the catalogue.
    bytes : int
        Total size of these files.
    versions : list of int
        Kept versions.
    """

    shards: list[str] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    bytes: int = 0
    versions: list[int] = field(default_factory=list)


def collect(
    root: Path,
    *,
    keep: int = 1,
    grace: float = GRACE,
    waste: float = WASTE,
    rehearse: bool = False,
) -> Garbage:
    """Give up removed shards and delete files that no kept version needs.

    Parameters
    ----------
    root : Path
        The catalogue's folder.
    keep : int, default=1
        Number of newest versions to keep readable with ``--at``.
    grace : float, default=600
        Seconds for which superseded versions are kept too.
    waste : float, default=0.25
        Share of its checkpoints that a shard must have lost to be rewritten without
        them; with 0 every shard that lost any is rewritten.
    rehearse : bool, default=False
        Whether to only report what could be deleted now.

    Raises
    ------
    CatalogError
        If the folder cannot be written, or a commit record is damaged; nothing is
        deleted then.
    """
    if keep < 1:
        raise CatalogError(f"--keep must be at least 1. Got {keep}.")
    folder = Folder(root, spare=True)
    folder.pin()
    needed_bytes = partial(_needed_bytes, folder, waste)
    with needing(needed_bytes, _ADVICE), folder.writing(), folder.lock("compact"):
        snapshot = newest_snapshot(folder)
        catalog = Catalog(root, cached=False)
        partly_lost = wasteful(catalog, snapshot.manifests, waste)
        rewritten = {manifest.shard for manifest in partly_lost}
        # Before the rewriting: afterwards two shards hold the same rows, so one of them
        # would seem to be empty.
        dead = _empty_shards(catalog) | rewritten
        if partly_lost and not rehearse:
            rewrite(catalog, partly_lost)
            snapshot = newest_snapshot(folder)
        dead |= _unused_tombstones(root, snapshot, dead)
        if dead and not rehearse:
            snapshot = _give_up(folder, dead)
        if any(manifest.superseded for manifest in snapshot.manifests) and not rehearse:
            pack(folder)
            snapshot = newest_snapshot(folder)
        snapshots = _kept_versions(folder, snapshot, keep, grace)
        garbage = Garbage(sorted(dead - rewritten), sorted(rewritten))
        garbage.versions = sorted(snapshots)
        unneeded = _unneeded_files(folder, snapshots)
        _check_packs(folder, snapshots[max(snapshots)], {path.stem for path in unneeded})
        _delete(folder, unneeded, garbage, rehearse)
        with folder.lock():  # so that no writer starts in between
            leftovers = find_leftovers(folder, extended(folder, read_head(folder)).shards)
            _delete(folder, leftovers, garbage, rehearse)
        if not rehearse:
            keep_reserve(root)
    return garbage


def _delete(folder: Folder, files: list[Path], garbage: Garbage, rehearse: bool) -> None:
    """Count files, and delete them in the given order unless it is a rehearsal."""
    for path in files:
        garbage.files.append(str(path.relative_to(folder.root)))
        garbage.bytes += path.stat().st_size
        if not rehearse:
            delete(folder, path)


def _check_packs(folder: Folder, head: Snapshot, going: set[str]) -> None:
    """Check packs before the files of their members are deleted, which could repair them.

    Raises
    ------
    ShardCorrupt
        If a file of a pack is damaged.
    """
    for manifest in head.manifests:
        if going & {*names(manifest)}:
            for file in manifest.files.values():
                check_hash(folder.root, file)


def _needed_bytes(folder: Folder, waste: float) -> int:
    """Return an upper estimate of the bytes that `collect` writes before it deletes."""
    snapshot = read_head(folder)
    catalog = Catalog(folder.root, cached=False)
    partly_lost = wasteful(catalog, snapshot.manifests, waste)
    weights = [m.files["weights"].bytes for m in partly_lost if "weights" in m.files]
    metadata = [
        file.bytes
        for manifest in snapshot.manifests
        for kind, file in manifest.own.items()
        if kind != "weights"
    ]
    versions = 3 * version_bytes(folder.root)
    return sum(weights) + sum(metadata) + versions + (64 << 10)


def _empty_shards(catalog: Catalog) -> set[str]:
    """Return the shards whose checkpoints are all removed or were committed before."""
    empty = catalog.sql(
        "SELECT shard FROM shards WHERE content IN ('weights', 'metrics') AND shard "
        "NOT IN (SELECT shard FROM checkpoints)"
    ).fetchall()
    return {shard for (shard,) in empty}


def _unused_tombstones(root: Path, snapshot: Snapshot, dead: set[str]) -> set[str]:
    """Return the tombstones that remove nothing once the dead shards are dropped."""
    tombstones = [m for m in snapshot.manifests if m.content == "tombstones"]
    if not tombstones:
        return set()
    sequences = {m.shard: m.sequence for m in snapshot.manifests if m.shard not in dead}
    living = metadata_source(root, snapshot.manifests, "checkpoints")
    if not living:
        return {m.shard for m in tombstones}
    removed = metadata_source(root, tombstones, "tombstones", origin=True)
    with connect() as connection:
        connection.execute("CREATE TABLE s (shard VARCHAR, sequence BIGINT)")
        connection.executemany("INSERT INTO s VALUES (?, ?)", list(sequences.items()))
        query = f"""SELECT DISTINCT t.pz_shard FROM {removed} t
            JOIN s AS ts ON ts.shard = t.pz_shard
            JOIN (SELECT c.run_id, c.step, s.sequence FROM {living} c
                  JOIN s USING (shard)) c
            ON c.run_id = t.run_id AND c.step = t.step AND c.sequence < ts.sequence"""
        try:
            used = connection.execute(query).fetchall()
        except duckdb.Error as error:
            raise ShardCorrupt(
                f"The checkpoints or tombstones in {root} cannot be read: {error}. Nothing "
                "was deleted; run 'phasezoo verify' to find the file."
            ) from error
        needed = {shard for (shard,) in used}
    return {m.shard for m in tombstones if m.shard not in needed}


def _give_up(folder: Folder, dead: set[str]) -> Snapshot:
    """Publish and return a version in which the dead shards do not exist."""
    with folder.lock():
        head = read_head(folder)
        newest = extended(folder, head)
        top = [m for m in newest.manifests if not m.pack]
        version = next_version(folder, head)
        snapshot = Snapshot.of(version, top, newest.dropped | dead)
        # Keep only names that a record or file on disk could bring back.
        present = folder.manifest_names()
        packs = {m.shard for m in top if m.content == "pack"} | snapshot.dropped
        for shard in present & packs:
            with contextlib.suppress(ShardCorrupt):  # brings back no member
                present |= {*names(read_manifest(folder, shard))}
        present |= {s for s in snapshot.dropped - present if folder.holds_files(s)}
        snapshot = replace(snapshot, dropped=snapshot.dropped & present)
        publish_snapshot(folder, snapshot, head.version)
        write_card(folder, snapshot)
    return snapshot


def _kept_versions(
    folder: Folder, head: Snapshot, keep: int, grace: float
) -> dict[int, Snapshot]:
    """Return the newest versions and those superseded less than ``grace`` seconds ago."""
    versions = sorted((v for v in folder.versions() if v <= head.version), reverse=True)
    kept_versions = versions[:keep]
    for version, successor in zip(versions[1:], versions, strict=False):
        age = time.time() - folder.snapshot(successor).stat().st_mtime
        if version not in kept_versions and age < grace:
            kept_versions.append(version)
    # Keep all since the oldest, as tombstones must outlive the records they remove.
    kept_versions = [v for v in versions if v >= min(kept_versions)]
    return {v: read_snapshot(folder, v) for v in kept_versions} | {head.version: head}


def _unneeded_files(folder: Folder, kept_snapshots: dict[int, Snapshot]) -> list[Path]:
    """Return the files that no kept version needs, in the order of deletion."""
    head = kept_snapshots[max(kept_snapshots)]
    needed: set[str] = set()
    records: set[str] = set()
    revivable = False
    for snapshot in kept_snapshots.values():
        for manifest in snapshot.manifests:
            needed |= {file.path for file in manifest.own.values()}
            if not manifest.pack:
                records.add(manifest.shard)
            # Without HEAD, the record of a pack brings back all of its members. Until the
            # record is deleted, keep their weights and the tombstones of their rows.
            for member in manifest.members:
                needed |= {file.path for file in member.own.values()}
            revivable |= bool(manifest.superseded)
    packed = {m.shard for m in head.manifests if m.pack}
    old = {v for v in folder.versions() if v < head.version} - kept_snapshots.keys()
    snapshots = [folder.snapshot(v) for v in sorted(old)]
    first: list[Path] = []
    last: list[Path] = []
    files: list[Path] = []
    superseded: list[Manifest] = [m for m in head.manifests if m.pack]
    for shard in sorted(folder.manifest_names() & (head.dropped | packed) - records):
        try:
            manifest = replace(read_manifest(folder, shard), pack="")
        except ShardCorrupt:
            if shard in packed:
                manifest = replace(head.shards[shard], pack="")
            else:  # without the record, its files are leftovers
                first.append(folder.manifest(shard))
                continue
        if revivable and manifest.content == "tombstones":
            continue
        superseded += [manifest, *(replace(m, pack="") for m in manifest.members)]
        gone_first = shard in head.dropped and manifest.content != "tombstones"
        (first if gone_first else last).append(folder.manifest(shard))
    for manifest in superseded:
        for file in manifest.files.values():
            path = folder.root / file.path
            check_inside(folder.root, path)
            if file.path not in needed and path.exists():
                files.append(path)
    groups = _idle_groups(folder, head, {path.stem for path in (*first, *last)})
    return [*snapshots, *first, *last, *dict.fromkeys(files), *groups]


def _idle_groups(folder: Folder, head: Snapshot, deleted: set[str]) -> list[Path]:
    """Return the group files of commits that no remaining record belongs to."""
    groups = folder.group_names()  # listed before the records, so that no new one is missed
    staying = folder.manifest_names() - deleted
    manifests = [
        head.shards.get(shard) or read_manifest(folder, shard) for shard in staying
    ]
    return [folder.group(name) for name in sorted(groups - {m.group for m in manifests})]
