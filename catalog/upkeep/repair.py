"""Mending what other records of the catalogue prove: `verify --repair`.

Nothing is invented. A record is written again only from a version that HEAD vouches for,
and deleted only if everything it stands for stands elsewhere. Files are never touched:
what no record names any more is a leftover, and `verify` deletes it.
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
    """What `repair` did.

    Attributes
    ----------
    mended : list of str
        A sentence about each thing that was mended.
    left : list of str
        A sentence about each thing that only a backup, or the user's word, can mend.
    """

    mended: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def repair(root: Path) -> RepairReport:
    """Mend HEAD, versions, commit records and packs, as far as other records allow.

    `verify` tells what is left.

    Raises
    ------
    CatalogError
        If the folder cannot be written.
    """
    folder = Folder(root, spare=True, strict=True)
    folder.pin()
    done = RepairReport()
    with folder.writing(), folder.lock("compact"):
        with folder.lock():
            done.mended += _mend_records(folder)
            _mend_head(folder, done)
            done.mended += _mend_records(folder)
            done.mended += _drop_idle_records(folder)
            done.mended += _drop_refused_packs(folder)
            done.mended += _drop_empty_records(folder)
        try:
            snapshot = newest_snapshot(folder)
        except ShardCorrupt:
            return done  # what cannot be mended; `verify` names it
        done.mended += _drop_versions(folder, snapshot)
        done.mended += _give_up_damaged_packs(folder, snapshot)
        done.mended += _join_doubled(folder, newest_snapshot(folder))
    return done


def _mend_records(folder: Folder) -> Iterator[str]:
    """Write the commit records again that differ from the version HEAD names."""
    try:
        head = read_head(folder)
    except ShardCorrupt:
        return
    for manifest in head.manifests:
        if manifest.pack or not has_files(folder, manifest):
            continue
        path = folder.manifest(manifest.shard)
        if _record(folder, manifest.shard) != manifest.to_json():
            word = "was damaged" if path.exists() else "was missing"
            folder.write(path, canonical_json(manifest.to_json()).encode())
            yield f"manifests/{path.name} {word}; it is what HEAD's version says of it."


def _mend_head(folder: Folder, done: RepairReport) -> None:
    """Let HEAD name the newest version that can be read and was not collected."""
    orphans: set[str] = set()
    try:
        head = read_head(folder)
        gone = [m.shard for m in head.manifests if not m.pack and not _stands(folder, m)]
        missing = not folder.head.exists() and folder.versions()
        if not gone and not missing:
            return
        reason = "it was missing"
        if gone:
            reason = (
                f"it named shards without a record or a file, such as {gone[0]}: it is "
                "older than what 'phasezoo gc' deleted"
            )
    except ShardCorrupt as error:
        reason, orphans = str(error), _orphans(folder)
    records = {shard: _record(folder, shard) for shard in folder.manifest_names()}
    for version in sorted(folder.versions(), reverse=True):
        data = _readable(folder, version, records)
        if data is not None:
            digest = hashlib.sha256(data).hexdigest()
            folder.write(folder.head, f"{version} {digest}\n".encode())
            done.mended.append(f"HEAD names version {version} again. ({reason})")
            return
    if orphans:
        done.left.append(
            f"HEAD's version is lost, and {len(orphans)} shards have files but no commit "
            f"record, such as {min(orphans)}. Restore manifests/ from a backup and try "
            "again. To give them up, delete HEAD: then 'phasezoo verify' deletes their "
            "files."
        )
        return
    folder.head.unlink(missing_ok=True)
    done.mended.append(f"HEAD is rebuilt from {len(records)} commit records. ({reason})")


def _stands(folder: Folder, manifest: Manifest) -> bool:
    return folder.manifest(manifest.shard).exists() or has_files(folder, manifest)


def _orphans(folder: Folder) -> set[str]:
    """Shards that have files but no record, of writers that have ended."""
    named = folder.manifest_names()
    for shard in folder.manifest_names():
        named |= _member_names(folder, shard)
    found = {
        path.stem for kind in _DATA for path in (folder.root / kind).rglob("*.parquet")
    }
    living = folder.living_writers()
    return {s for s in found - named if SHARD_NAME.fullmatch(s) and s[:12] not in living}


def _readable(folder: Folder, version: int, records: dict[str, Any]) -> bytes | None:
    """The bytes of a version that agrees with all commit records that can be read."""
    try:
        data, snapshot = read_unnamed(folder, version)
    except (FileNotFoundError, CatalogError):
        return None
    for manifest in snapshot.manifests:
        if manifest.pack:
            continue
        if not _stands(folder, manifest):
            return None  # deleted since, with its files
        if records.get(manifest.shard) not in (None, manifest.to_json()):
            return None
    return data


def _drop_refused_packs(folder: Folder) -> Iterator[str]:
    """Delete records of packs that no reader takes, if all members stand elsewhere."""
    refused: dict[str, str] = {}
    held: set[str] = set()
    for shard in sorted(folder.manifest_names()):
        try:
            manifest = read_manifest(folder, shard)
        except ShardCorrupt as error:
            refused[shard] = str(error)
            continue
        held |= {shard, *(member.shard for member in manifest.members)}
    for shard, reason in refused.items():
        members = _member_names(folder, shard)
        if members and members <= held:
            folder.manifest(shard).unlink(missing_ok=True)
            for kind in KINDS:  # without a record nobody claims them
                (folder.root / kind / f"{shard}.parquet").unlink(missing_ok=True)
            yield (
                f"manifests/{shard}.json was a pack that no reader takes; its "
                f"{len(members)} shards stand in other records, so it was deleted. "
                f"({reason})"
            )


def _drop_idle_records(folder: Folder) -> Iterator[str]:
    """Delete refused records of shards that were given up, or that a pack holds."""
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
            word = "is in a pack" if shard in packed else "was given up"
            yield f"manifests/{shard}.json was damaged; its shard {word}. ({error})"


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
                f"manifests/{shard}.json had none of its files, and HEAD's version does "
                "not name it: the shard was given up, so the record was deleted."
            )


def _drop_versions(folder: Folder, snapshot: Snapshot) -> Iterator[str]:
    """Delete older versions that cannot be read any more."""
    for version in sorted(folder.versions()):
        if version >= snapshot.version:
            continue
        try:
            read_unnamed(folder, version)
        except ShardCorrupt as error:
            folder.snapshot(version).unlink(missing_ok=True)
            yield f"Version {version} could not be read any more and was deleted. ({error})"


def _give_up_damaged_packs(folder: Folder, snapshot: Snapshot) -> Iterator[str]:
    """Give up packs with a damaged file whose members stand whole by themselves."""
    for pack_ in [m for m in snapshot.manifests if m.content == "pack"]:
        if _is_whole(folder, pack_):
            continue
        held = [m.shard for m in snapshot.manifests if m.pack == pack_.shard]
        records = [_whole_record(folder, shard) for shard in held]
        if None in records:
            continue
        with folder.lock():
            head = read_head(folder)
            top = [m for m in head.manifests if not m.pack]
            top += [record for record in records if record is not None]
            version = next_version(folder, head)
            without = Snapshot.of(version, top, head.dropped | {pack_.shard})
            publish_snapshot(folder, without, head.version)
        yield (
            f"The pack {pack_.shard} has a damaged file; its {len(held)} shards stand in "
            "records and files of their own, which are read again."
        )


def _whole_record(folder: Folder, shard: str) -> Manifest | None:
    """The record of a shard all of whose files are what was committed."""
    try:
        manifest = read_manifest(folder, shard)
    except ShardCorrupt:
        return None
    return manifest if _is_whole(folder, manifest) else None


def _is_whole(folder: Folder, manifest: Manifest) -> bool:
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
            f"{path} cannot be read: {error.strerror}. Nothing more was done: mend the "
            "disk or the permissions first."
        ) from error


def _member_names(folder: Folder, shard: str) -> set[str]:
    """Members of a pack whose record is refused; empty if they cannot be told."""
    try:
        value = parse_json(folder, folder.manifest(shard))
        names = {member["shard"] for member in value["members"]}
        is_pack = value["content"] == "pack"
    except (ShardCorrupt, KeyError, TypeError):
        return set()
    proper = all(isinstance(n, str) and SHARD_NAME.fullmatch(n) for n in names)
    return names if proper and is_pack else set()


def _join_doubled(folder: Folder, snapshot: Snapshot) -> Iterator[str]:
    """Write packs again of which others hold a part, or whose shards were given up."""
    doubled = [manifest.shard for manifest in snapshot.manifests if manifest.superseded]
    if doubled:
        done = pack(folder)
        yield (
            f"Packs {', '.join(doubled)} held rows of shards that stand elsewhere or were "
            f"given up; {done.shards} shards are in the pack {done.pack} now. "
            "'phasezoo gc' deletes the old ones."
        )


def _record(folder: Folder, shard: str) -> dict[str, Any] | None:
    """A commit record as JSON values; None if it is missing or refused."""
    try:
        manifest: Manifest = read_manifest(folder, shard)
    except ShardCorrupt:
        return None
    return manifest.to_json()
