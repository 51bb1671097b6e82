"""Repair of a catalogue from its own records, for `verify --repair`.

Nothing is guessed. A record is rewritten only from the version whose digest HEAD holds, and
deleted only if other records hold everything that it describes. Files of shards are not
repaired; files that no record names any more are leftovers, which `verify` deletes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import CannotRead, CatalogError, ShardCorrupt
from catalog.names import canonical_json
from catalog.storage.folder import KINDS, SHARD_NAME, Folder
from catalog.storage.manifest import Manifest, parse_json, read_manifest
from catalog.storage.metadata import check_hash
from catalog.storage.snapshot import (
    Snapshot,
    has_files,
    newest_snapshot,
    next_version,
    publish_snapshot,
    read_head,
    read_unnamed,
)
from catalog.upkeep.compaction import pack

_DATA = ("weights", *KINDS)
"""Folders of the files of shards."""


@dataclass
class RepairReport:
    """Result of `repair_catalogue`.

    Attributes
    ----------
    mended : list of str
        One sentence per repair.
    left : list of str
        One sentence per problem that only a backup or a decision of the user can solve.
    """

    mended: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def repair_catalogue(root: Path) -> RepairReport:
    """Repair HEAD, versions, commit records and packs, where other records suffice.

    `verify` reports the problems that remain.

    Raises
    ------
    CatalogError
        If the folder cannot be written.
    """
    folder = Folder(root, spare=True, strict=True)
    folder.pin()
    report = RepairReport()
    with folder.writing(), folder.lock("compact"):
        with folder.lock():
            report.mended += _mend_records(folder)
            _mend_head(folder, report)
            report.mended += _mend_records(folder)
            report.mended += _drop_unneeded_records(folder)
            report.mended += _drop_unreadable_packs(folder)
            report.mended += _drop_empty_records(folder)
        try:
            snapshot = newest_snapshot(folder)
        except ShardCorrupt:
            return report  # not repairable; `verify` reports the file
        report.mended += _drop_versions(folder, snapshot)
        report.mended += _drop_damaged_packs(folder, snapshot)
        report.mended += _join_overlapping(folder, newest_snapshot(folder))
    return report


def _mend_records(folder: Folder) -> Iterator[str]:
    """Rewrite the commit records that differ from the version that HEAD names."""
    try:
        head = read_head(folder)
    except ShardCorrupt:
        return
    for manifest in head.manifests:
        if manifest.pack or not has_files(folder, manifest):
            continue
        path = folder.manifest(manifest.shard)
        if _record(folder, manifest.shard) != manifest.to_json():
            state = "was damaged" if path.exists() else "was missing"
            folder.write(path, canonical_json(manifest.to_json()).encode())
            yield f"manifests/{path.name} {state}; it was rewritten from HEAD's version."


def _mend_head(folder: Folder, report: RepairReport) -> None:
    """Make HEAD name the newest readable version whose shards still exist."""
    orphans: set[str] = set()
    try:
        head = read_head(folder)
        lost = [m.shard for m in head.manifests if not m.pack and not _exists(folder, m)]
        missing = not folder.head.exists() and folder.versions()
        if not lost and not missing:
            return
        reason = "it was missing"
        if lost:
            reason = (
                f"it named shards without a record or a file, such as {lost[0]}; it is "
                "older than the last run of 'phasezoo gc'"
            )
    except ShardCorrupt as error:
        reason, orphans = str(error), _orphans(folder)
    records = {shard: _record(folder, shard) for shard in folder.manifest_names()}
    for version in sorted(folder.versions(), reverse=True):
        data = _readable(folder, version, records)
        if data is not None:
            digest = hashlib.sha256(data).hexdigest()
            folder.write(folder.head, f"{version} {digest}\n".encode())
            report.mended.append(f"HEAD names version {version} again. ({reason})")
            return
    if orphans:
        report.left.append(
            f"HEAD's version is lost, and {len(orphans)} shards have files but no commit "
            f"record, such as {min(orphans)}. Restore manifests/ from a backup and try "
            "again. To give up these shards, delete HEAD; 'phasezoo verify' then deletes "
            "their files."
        )
        return
    folder.head.unlink(missing_ok=True)
    report.mended.append(
        f"HEAD was deleted and will be rebuilt from {len(records)} commit records. "
        f"({reason})"
    )


def _exists(folder: Folder, manifest: Manifest) -> bool:
    """Return whether a shard has a commit record or a file."""
    return folder.manifest(manifest.shard).exists() or has_files(folder, manifest)


def _orphans(folder: Folder) -> set[str]:
    """Return the shards with files but no record whose writers have ended."""
    recorded = folder.manifest_names()
    for shard in folder.manifest_names():
        recorded |= _member_names(folder, shard)
    with_files = {
        path.stem for kind in _DATA for path in (folder.root / kind).rglob("*.parquet")
    }
    living = folder.living_writers()
    return {
        s for s in with_files - recorded if SHARD_NAME.fullmatch(s) and s[:12] not in living
    }


def _readable(folder: Folder, version: int, records: dict[str, Any]) -> bytes | None:
    """Return the bytes of a version if it agrees with all readable commit records."""
    try:
        data, snapshot = read_unnamed(folder, version)
    except (FileNotFoundError, CatalogError):
        return None
    for manifest in snapshot.manifests:
        if manifest.pack:
            continue
        if not _exists(folder, manifest):
            return None  # the shard was deleted meanwhile, with its files
        if records.get(manifest.shard) not in (None, manifest.to_json()):
            return None
    return data


def _drop_unreadable_packs(folder: Folder) -> Iterator[str]:
    """Delete unreadable records of packs if other records have all of their members."""
    unreadable: dict[str, str] = {}
    recorded: set[str] = set()
    for shard in sorted(folder.manifest_names()):
        try:
            manifest = read_manifest(folder, shard)
        except ShardCorrupt as error:
            unreadable[shard] = str(error)
            continue
        recorded |= {shard, *(member.shard for member in manifest.members)}
    for shard, reason in unreadable.items():
        members = _member_names(folder, shard)
        if members and members <= recorded:
            folder.manifest(shard).unlink(missing_ok=True)
            for kind in KINDS:  # files that no record claims any more
                (folder.root / kind / f"{shard}.parquet").unlink(missing_ok=True)
            yield (
                f"manifests/{shard}.json, the record of a pack, could not be read. It was "
                f"deleted, as other records have all of its {len(members)} shards. "
                f"({reason})"
            )


def _drop_unneeded_records(folder: Folder) -> Iterator[str]:
    """Delete unreadable records of shards that were dropped or are in a pack."""
    try:
        head = read_head(folder)
    except ShardCorrupt:
        return
    packed = {manifest.shard for manifest in head.manifests if manifest.pack}
    for shard in sorted(folder.manifest_names() & (head.dropped | packed)):
        try:
            read_manifest(folder, shard)
        except ShardCorrupt as error:
            folder.manifest(shard).unlink(missing_ok=True)
            state = "is in a pack" if shard in packed else "was dropped"
            yield (
                f"manifests/{shard}.json was damaged. It was deleted, as its shard "
                f"{state}. ({error})"
            )


def _drop_empty_records(folder: Folder) -> Iterator[str]:
    """Delete records of shards that HEAD does not name and that have no file."""
    try:
        known = read_head(folder).shards.keys()
    except ShardCorrupt:
        return
    for shard in sorted(folder.manifest_names() - known):
        try:
            manifest = read_manifest(folder, shard)
        except ShardCorrupt:
            continue
        if not has_files(folder, manifest):
            folder.manifest(shard).unlink(missing_ok=True)
            yield (
                f"manifests/{shard}.json was deleted: the shard was dropped, as it has no "
                "files and HEAD's version does not name it."
            )


def _drop_versions(folder: Folder, snapshot: Snapshot) -> Iterator[str]:
    """Delete older versions that cannot be read."""
    for version in sorted(folder.versions()):
        if version >= snapshot.version:
            continue
        try:
            read_unnamed(folder, version)
        except ShardCorrupt as error:
            folder.snapshot(version).unlink(missing_ok=True)
            yield f"Version {version} could not be read and was deleted. ({error})"


def _drop_damaged_packs(folder: Folder, snapshot: Snapshot) -> Iterator[str]:
    """Drop damaged packs whose members have intact records and files of their own."""
    for damaged in [m for m in snapshot.manifests if m.content == "pack"]:
        if _is_intact(folder, damaged):
            continue
        members = [m.shard for m in snapshot.manifests if m.pack == damaged.shard]
        records = [_intact_record(folder, shard) for shard in members]
        if None in records:
            continue
        with folder.lock():
            head = read_head(folder)
            unpacked = [m for m in head.manifests if not m.pack]
            unpacked += [record for record in records if record is not None]
            version = next_version(folder, head)
            without = Snapshot.of(version, unpacked, head.dropped | {damaged.shard})
            publish_snapshot(folder, without, head.version)
        yield (
            f"The pack {damaged.shard} has a damaged file and was dropped. Its "
            f"{len(members)} shards are read from their own records and files again."
        )


def _intact_record(folder: Folder, shard: str) -> Manifest | None:
    """Return the record of a shard if all of its files are intact, otherwise None."""
    try:
        manifest = read_manifest(folder, shard)
    except ShardCorrupt:
        return None
    return manifest if _is_intact(folder, manifest) else None


def _is_intact(folder: Folder, manifest: Manifest) -> bool:
    try:
        for file in manifest.files.values():
            _check_readable(folder.root / file.path)
            check_hash(folder.root, file)
    except ShardCorrupt:
        return False
    return True


def _check_readable(path: Path) -> None:
    """Raise `CannotRead` if the operating system refuses to read a file that is there."""
    try:
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass
    except FileNotFoundError:
        return
    except OSError as error:
        raise CannotRead(
            f"{path} cannot be read: {error.strerror}. Repair the disk or the permissions "
            "first; nothing more was done."
        ) from error


def _member_names(folder: Folder, shard: str) -> set[str]:
    """Return the members of a pack with a damaged record; empty if they are unknown."""
    try:
        value = parse_json(folder, folder.manifest(shard))
        names = {member["shard"] for member in value["members"]}
        is_pack = value["content"] == "pack"
    except (ShardCorrupt, KeyError, TypeError):
        return set()
    valid = all(isinstance(n, str) and SHARD_NAME.fullmatch(n) for n in names)
    return names if valid and is_pack else set()


def _join_overlapping(folder: Folder, snapshot: Snapshot) -> Iterator[str]:
    """Rewrite packs with members that other packs hold or that were dropped."""
    overlapping = [manifest.shard for manifest in snapshot.manifests if manifest.superseded]
    if overlapping:
        compaction = pack(folder)
        yield (
            f"Packs {', '.join(overlapping)} held rows of shards that other packs hold or "
            f"that were dropped; {compaction.shards} shards are in the pack "
            f"{compaction.pack} now. 'phasezoo gc' deletes the old packs."
        )


def _record(folder: Folder, shard: str) -> dict[str, Any] | None:
    """Return a commit record as JSON values; None if it is missing or damaged."""
    try:
        manifest: Manifest = read_manifest(folder, shard)
    except ShardCorrupt:
        return None
    return manifest.to_json()
