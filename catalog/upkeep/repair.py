"""Mending what other records of the catalogue prove: `verify --repair`.

Nothing is invented. A record is written again only from a version that HEAD vouches for,
and deleted only if everything it stands for stands elsewhere. Files are never touched:
what no record names any more is a leftover, and `verify` deletes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError, ShardCorrupt
from catalog.folder import SHARD_NAME, Folder
from catalog.manifest import Manifest, parse_json, read_manifest
from catalog.names import canonical_json
from catalog.snapshot import Snapshot, read_head, read_unnamed, refresh
from catalog.upkeep.compaction import pack


def repair(root: Path) -> list[str]:
    """Mend HEAD, commit records and doubled packs, as far as other records allow.

    Returns
    -------
    list of str
        A sentence about each thing that was mended. `verify` tells what is left.

    Raises
    ------
    CatalogError
        If the folder cannot be written.
    """
    folder = Folder(root, spare=True)
    folder.pin()
    done: list[str] = []
    with folder.writing(), folder.lock("compact"):
        with folder.lock():
            done += _mend_head(folder)
            done += _mend_records(folder)
            done += _drop_refused_packs(folder)
        try:
            snapshot = refresh(folder)
        except ShardCorrupt:
            return done  # what cannot be mended; `verify` names it
        done += _join_doubled(folder, snapshot)
    return done


def _mend_head(folder: Folder) -> Iterator[str]:
    """Let HEAD name the newest version that can be read, or none."""
    try:
        read_head(folder)
        return
    except ShardCorrupt as error:
        reason = str(error)
    records = {shard: _record(folder, shard) for shard in folder.manifest_names()}
    for version in sorted(folder.versions(), reverse=True):
        data = _readable(folder, version, records)
        if data is not None:
            digest = hashlib.sha256(data).hexdigest()
            folder.write(folder.head, f"{version} {digest}\n".encode())
            yield f"HEAD names version {version} again. ({reason})"
            return
    folder.head.unlink(missing_ok=True)
    yield f"HEAD is rebuilt from {len(records)} commit records. ({reason})"


def _readable(folder: Folder, version: int, records: dict[str, Any]) -> bytes | None:
    """The bytes of a version that agrees with all commit records that can be read."""
    try:
        data, snapshot = read_unnamed(folder, version)
    except (FileNotFoundError, CatalogError):
        return None
    for manifest in snapshot.manifests:
        if manifest.pack:
            continue
        if manifest.shard not in records:
            return None  # deleted since, with its files
        if records[manifest.shard] not in (None, manifest.to_json()):
            return None
    return data


def _mend_records(folder: Folder) -> Iterator[str]:
    """Write the commit records again that differ from the version HEAD names."""
    for manifest in read_head(folder).manifests:
        if manifest.pack:
            continue
        path = folder.manifest(manifest.shard)
        if _record(folder, manifest.shard) != manifest.to_json():
            word = "was damaged" if path.exists() else "was missing"
            folder.write(path, canonical_json(manifest.to_json()).encode())
            yield f"manifests/{path.name} {word}; it is what HEAD's version says of it."


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
            yield (
                f"manifests/{shard}.json was a pack that no reader takes; its "
                f"{len(members)} shards stand in other records, so it was deleted. "
                f"({reason})"
            )


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
