"""Deleting what no kept version needs: removed shards, superseded files, old versions.

Nothing is deleted before a version that does without it is published, and commit
records go before their files, tombstones last. Shards are given up before the packs that
hold their rows are written again: so no two packs ever stand for one shard. A kill at any
moment leaves a catalogue that reads the same; `gc` or `verify` finishes the work.
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
"""Seconds for which a superseded version stays: somebody may be reading it."""


@dataclass
class Garbage:
    """What `collect` found.

    Attributes
    ----------
    shards : list of str
        Shards that were given up: all of their checkpoints are removed.
    rewritten : list of str
        Shards whose living checkpoints were committed again without the others.
    files : list of str
        Files deleted (or to be deleted, in a rehearsal), relative to the catalogue.
    bytes : int
        Their size.
    versions : list of int
        Versions kept.
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
    """Give up removed shards and delete what no kept version needs.

    Parameters
    ----------
    keep : int, default=1
        Newest versions to keep readable with ``--at``.
    grace : float, default=600
        Seconds; a version that was superseded later than that is kept too.
    waste : float, default=0.25
        Share of its checkpoints that a shard must have lost to be written again without
        them; 0 writes every shard again that lost any.
    rehearse : bool, default=False
        Only say what could go now; deletes nothing.

    Raises
    ------
    CatalogError
        If the folder cannot be written, or a commit record is damaged: nothing is
        deleted then.
    """
    if keep < 1:
        raise CatalogError(f"At least one version must be kept. Got --keep {keep}.")
    folder = Folder(root, spare=True)
    folder.pin()
    need = partial(_bytes, folder, waste)
    with needing(need, _ADVICE), folder.writing(), folder.lock("compact"):
        snapshot = newest_snapshot(folder)
        catalog = Catalog(root, cached=False)
        thin = wasteful(catalog, snapshot.manifests, waste)
        rewritten = {manifest.shard for manifest in thin}
        # Before: afterwards two shards hold the same rows, and one seems to have none.
        dead = _empty(catalog) | rewritten
        if thin and not rehearse:
            rewrite(catalog, thin)
            snapshot = newest_snapshot(folder)
        dead |= _idle(root, snapshot, dead)
        if dead and not rehearse:
            snapshot = _give_up(folder, dead)
        if any(manifest.superseded for manifest in snapshot.manifests) and not rehearse:
            pack(folder)
            snapshot = newest_snapshot(folder)
        kept = _kept(folder, snapshot, keep, grace)
        garbage = Garbage(sorted(dead - rewritten), sorted(rewritten))
        garbage.versions = sorted(kept)
        unneeded = _unneeded(folder, kept)
        _check_packs(folder, kept[max(kept)], {path.stem for path in unneeded})
        _delete(folder, unneeded, garbage, rehearse)
        with folder.lock():  # no writer starts in between
            left = find_leftovers(folder, extended(folder, read_head(folder)).shards)
            _delete(folder, left, garbage, rehearse)
        if not rehearse:
            keep_reserve(root)
    return garbage


def _delete(folder: Folder, files: list[Path], garbage: Garbage, rehearse: bool) -> None:
    """Delete files in their order, or only count them."""
    for path in files:
        garbage.files.append(str(path.relative_to(folder.root)))
        garbage.bytes += path.stat().st_size
        if not rehearse:
            delete(folder, path)


def _check_packs(folder: Folder, head: Snapshot, going: set[str]) -> None:
    """Prove packs before the files of their members go, from which they could be mended.

    Raises
    ------
    ShardCorrupt
        If a file of a pack is damaged.
    """
    for manifest in head.manifests:
        if going & {*names(manifest)}:
            for file in manifest.files.values():
                check_hash(folder.root, file)


def _bytes(folder: Folder, waste: float) -> int:
    """An upper estimate of what `collect` writes before it deletes anything."""
    snapshot = read_head(folder)
    catalog = Catalog(folder.root, cached=False)
    thin = wasteful(catalog, snapshot.manifests, waste)
    weights = [m.files["weights"].bytes for m in thin if "weights" in m.files]
    metadata = [
        file.bytes
        for manifest in snapshot.manifests
        for kind, file in manifest.own.items()
        if kind != "weights"
    ]
    versions = 3 * version_bytes(folder.root)
    return sum(weights) + sum(metadata) + versions + (64 << 10)


def _empty(catalog: Catalog) -> set[str]:
    """Shards of which every checkpoint is removed, or was committed before."""
    empty = catalog.sql(
        "SELECT shard FROM shards WHERE content IN ('weights', 'metrics') AND shard "
        "NOT IN (SELECT shard FROM checkpoints)"
    ).fetchall()
    return {shard for (shard,) in empty}


def _idle(root: Path, snapshot: Snapshot, dead: set[str]) -> set[str]:
    """Tombstones that remove nothing once the dead shards are gone."""
    tombstones = [m for m in snapshot.manifests if m.content == "tombstones"]
    if not tombstones:
        return set()
    rest = {m.shard: m.sequence for m in snapshot.manifests if m.shard not in dead}
    living = metadata_source(root, snapshot.manifests, "checkpoints")
    if not living:
        return {m.shard for m in tombstones}
    removed = metadata_source(root, tombstones, "tombstones", origin=True)
    with connect() as connection:
        connection.execute("CREATE TABLE s (shard VARCHAR, sequence BIGINT)")
        connection.executemany("INSERT INTO s VALUES (?, ?)", list(rest.items()))
        still = f"""SELECT DISTINCT t.pz_shard FROM {removed} t
            JOIN s AS ts ON ts.shard = t.pz_shard
            JOIN (SELECT c.run_id, c.step, s.sequence FROM {living} c
                  JOIN s USING (shard)) c
            ON c.run_id = t.run_id AND c.step = t.step AND c.sequence < ts.sequence"""
        try:
            found = connection.execute(still).fetchall()
        except duckdb.Error as error:
            raise ShardCorrupt(
                f"The checkpoints or tombstones in {root} cannot be read: {error}. Nothing "
                "was deleted; run 'phasezoo verify' to find the file."
            ) from error
        needed = {shard for (shard,) in found}
    return {m.shard for m in tombstones if m.shard not in needed}


def _give_up(folder: Folder, dead: set[str]) -> Snapshot:
    """Publish a version in which the dead shards do not exist."""
    with folder.lock():
        head = read_head(folder)
        newest = extended(folder, head)
        top = [m for m in newest.manifests if not m.pack]
        version = next_version(folder, head)
        snapshot = Snapshot.of(version, top, newest.dropped | dead)
        # Names that no record on disk could bring back need not be kept.
        present = folder.manifest_names()
        packs = {m.shard for m in top if m.content == "pack"} | snapshot.dropped
        for shard in present & packs:
            with contextlib.suppress(ShardCorrupt):  # no one reads it: it holds nothing
                present |= {*names(read_manifest(folder, shard))}
        present |= {s for s in snapshot.dropped - present if folder.holds_files(s)}
        snapshot = replace(snapshot, dropped=snapshot.dropped & present)
        publish_snapshot(folder, snapshot, head.version)
        write_card(folder, snapshot)
    return snapshot


def _kept(folder: Folder, head: Snapshot, keep: int, grace: float) -> dict[int, Snapshot]:
    """The newest versions, and those superseded only a moment ago."""
    versions = sorted((v for v in folder.versions() if v <= head.version), reverse=True)
    chosen = versions[:keep]
    for version, successor in zip(versions[1:], versions, strict=False):
        age = time.time() - folder.snapshot(successor).stat().st_mtime
        if version not in chosen and age < grace:
            chosen.append(version)
    # All since the oldest: a tombstone stays as long as a record of what it removes.
    chosen = [v for v in versions if v >= min(chosen)]
    return {v: read_snapshot(folder, v) for v in chosen} | {head.version: head}


def _unneeded(folder: Folder, kept: dict[int, Snapshot]) -> list[Path]:
    """Files that no kept version needs, in the order in which they may go."""
    head = kept[max(kept)]
    needed: set[str] = set()
    records: set[str] = set()
    revivable = False
    for snapshot in kept.values():
        for manifest in snapshot.manifests:
            needed |= {file.path for file in manifest.own.values()}
            if not manifest.pack:
                records.add(manifest.shard)
            # Without HEAD, the record of a pack brings back all of its members: until it
            # goes, their weights stay, and the tombstones that remove their rows.
            for member in manifest.members:
                needed |= {file.path for file in member.own.values()}
            revivable |= bool(manifest.superseded)
    packed = {m.shard for m in head.manifests if m.pack}
    old = {v for v in folder.versions() if v < head.version} - kept.keys()
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
            else:  # its files are leftovers without it
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


def _idle_groups(folder: Folder, head: Snapshot, gone: set[str]) -> list[Path]:
    """Files of commits of several shards that no remaining record asks for."""
    groups = folder.group_names()  # before the records, so that no new one is missed
    staying = folder.manifest_names() - gone
    known = [head.shards.get(shard) or read_manifest(folder, shard) for shard in staying]
    return [folder.group(name) for name in sorted(groups - {m.group for m in known})]
