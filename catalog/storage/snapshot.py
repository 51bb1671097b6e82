"""Snapshots: immutable versions of the list of shards, and HEAD, which names one."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError, NotFound, ShardCorrupt
from catalog.names import canonical_json, content_id
from catalog.storage.folder import SHARD_NAME, Folder
from catalog.storage.manifest import (
    FIRST_FORMAT,
    SECOND_FORMAT,
    Manifest,
    check_format,
    loads,
    read_bytes,
    read_manifest,
)


@dataclass(frozen=True)
class Snapshot:
    """Shards of one version, in order of commit.

    Attributes
    ----------
    version : int
        Number of the version; 0 is the empty catalogue.
    manifests : tuple of Manifest
        Manifests sorted by `Manifest.order`, with the members of packs.
    dropped : frozenset of str
        Shards that `gc` dropped, and packs that newer packs supersede. They do not
        exist, whether or not their manifest still does.
    """

    version: int
    manifests: tuple[Manifest, ...]
    dropped: frozenset[str] = frozenset()

    @cached_property
    def id(self) -> str:
        """Identifier derived from the content, independent of the version's number."""
        return content_id([[m.shard + m.pack, *m.order] for m in self.manifests], 16)

    @cached_property
    def shards(self) -> dict[str, Manifest]:
        """Manifests by shard name."""
        return {manifest.shard: manifest for manifest in self.manifests}

    @cached_property
    def leaves(self) -> frozenset[str]:
        """Shards that hold something of their own: all but packs."""
        return frozenset(m.shard for m in self.manifests if m.content != "pack")

    @classmethod
    def of(
        cls, version: int, manifests: Iterable[Manifest], dropped: Iterable[str] = ()
    ) -> Snapshot:
        """Create a snapshot from commit records, with the members of packs.

        A pack supersedes the metadata of its members. A shard that several packs hold
        belongs to the newest of them. A pack whose members all belong to newer packs is
        superseded itself.

        Parameters
        ----------
        version : int
            Number of the version.
        manifests : iterable of Manifest
            Commit records that are not in packs; others are ignored.
        dropped : iterable of str, default=()
            Shards that do not exist.
        """
        given_up = frozenset(dropped)
        known = {m.shard: m for m in manifests if m.shard not in given_up and not m.pack}
        packs = [m for m in known.values() if m.content == "pack"]
        packed: dict[str, Manifest] = {}
        for pack in sorted(packs, key=lambda m: m.order):
            packed |= {m.shard: m for m in pack.members if m.shard not in given_up}
        packs_in_use = {member.pack for member in packed.values()}
        superseded = frozenset(pack.shard for pack in packs) - packs_in_use
        loose = [m for m in known.values() if m.shard not in packed.keys() | superseded]
        loose = [_with_superseded(m, packed) if m.members else m for m in loose]
        ordered = sorted([*loose, *packed.values()], key=lambda m: m.order)
        return cls(version, tuple(ordered), given_up | superseded)

    def to_json(self, parent: int) -> dict[str, Any]:
        """Return the snapshot as plain values for JSON, with the version before it."""
        top = [manifest for manifest in self.manifests if not manifest.pack]
        formats = [m.format for m in top] + [
            SECOND_FORMAT if self.dropped else FIRST_FORMAT
        ]
        value = {
            "format": list(max(formats)),
            "version": self.version,
            "parent": parent,
            "shards": [manifest.to_json() for manifest in top],
        }
        return value | ({"dropped": sorted(self.dropped)} if self.dropped else {})


def _with_superseded(pack: Manifest, packed: Mapping[str, Manifest]) -> Manifest:
    """Return a pack with its superseded members filled in."""
    names = [member.shard for member in pack.members]
    old_members = {
        name for name in names if name not in packed or packed[name].pack != pack.shard
    }
    return replace(pack, superseded=frozenset(old_members))


def read_head(folder: Folder) -> Snapshot:
    """Read the snapshot that HEAD names; version 0 if there is no HEAD yet.

    Raises
    ------
    ShardCorrupt
        If HEAD or its snapshot is damaged.
    CatalogError
        If the snapshot has a newer major version of the format.
    """
    text = _head_text(folder)
    while True:
        try:
            return _read_head(folder, text)
        except ShardCorrupt:
            previous, text = text, _head_text(folder)
            if text == previous:  # HEAD has not moved on, so the damage is real
                raise


def _head_text(folder: Folder) -> bytes | None:
    try:
        return folder.read(folder.head)
    except FileNotFoundError:
        return None


def _read_head(folder: Folder, text: bytes | None) -> Snapshot:
    if text is None:
        return Snapshot(0, ())
    version, digest = parse_head(
        text, str(folder.head), "Delete it; it will be rebuilt from manifests/."
    )
    return _read(folder, version, digest)


def read_snapshot(folder: Folder, version: int) -> Snapshot:
    """Read any version that still has a file.

    Raises
    ------
    NotFound
        If there is no such version, or `gc` has deleted it.
    ShardCorrupt
        If the version is damaged.
    """
    head = read_head(folder)
    if version == head.version:
        return head
    known = sorted(folder.versions())
    if version not in known or version > head.version:
        listed = ", ".join(str(v) for v in known if v <= head.version)
        raise NotFound(
            f"{folder.root} has no version {version}. It has: {listed or 'none'}. "
            "'phasezoo gc' deletes old versions."
        )
    return _read(folder, version, "")


def read_unnamed(folder: Folder, version: int) -> tuple[bytes, Snapshot]:
    """Read a version without a digest from HEAD; return the file's bytes and snapshot.

    Raises
    ------
    ShardCorrupt
        If the version is missing or damaged.
    """
    path = folder.snapshot(version)
    data = read_bytes(folder, path)
    return data, _checked(loads(path, data), version, path)


def _read(folder: Folder, version: int, sha256: str) -> Snapshot:
    """Read and check a version, and parse equal bytes only once per process."""
    path = folder.snapshot(version)
    data = read_bytes(folder, path, sha256)
    digest = sha256 or hashlib.sha256(data).hexdigest()
    return _parse(data, digest, version, path)


def _parse(data: bytes, digest: str, version: int, path: Path) -> Snapshot:
    if digest not in _parsed:
        value = loads(path, data)
        while len(_parsed) >= _MAX_PARSED:
            _parsed.pop(next(iter(_parsed)), None)
        _parsed[digest] = _checked(value, version, path)
    return _parsed[digest]


_MAX_PARSED = 4
_parsed: dict[str, Snapshot] = {}


def _checked(value: Any, version: int, path: Path) -> Snapshot:
    if not isinstance(value, dict) or not isinstance(value.get("shards"), list):
        raise ShardCorrupt(f"{path} is not a snapshot. Run 'phasezoo verify'.")
    check_format(value.get("format"), str(path))
    if value.get("version", version) != version:
        raise ShardCorrupt(f"{path} states another version number. Run 'phasezoo verify'.")
    dropped = value.get("dropped", [])
    valid = isinstance(dropped, list) and all(isinstance(d, str) for d in dropped)
    if not valid or not all(SHARD_NAME.fullmatch(d) for d in dropped):
        raise ShardCorrupt(
            f"{path}: 'dropped' is not a list of shards. Run 'phasezoo verify'."
        )
    manifests = [Manifest.from_json(m, str(path)) for m in value["shards"]]
    return Snapshot.of(version, manifests, dropped)


def newest_snapshot(folder: Folder, *, publish: bool = True) -> Snapshot:
    """Return the newest state: HEAD and every shard committed since.

    Parameters
    ----------
    folder : Folder
        Folder of the catalogue.
    publish : bool, default=True
        Whether to write a new snapshot and move HEAD if there are new shards. Pass False
        for a folder that cannot be written.
    """
    head = read_head(folder)
    snapshot = extended(folder, head)
    if not publish or snapshot is head:
        return snapshot
    with folder.lock():
        head = read_head(folder)
        snapshot = extended(folder, head)
        if snapshot is not head:
            publish_snapshot(folder, snapshot, head.version)
    return snapshot


def publish_snapshot(folder: Folder, snapshot: Snapshot, parent: int) -> None:
    """Write a snapshot and move HEAD to it. Call it under the commit lock.

    Raises
    ------
    ShardCorrupt
        If readers would refuse the snapshot; HEAD does not move then.
    """
    data = canonical_json(snapshot.to_json(parent)).encode()
    digest = hashlib.sha256(data).hexdigest()
    path = folder.snapshot(snapshot.version)
    _parse(data, digest, snapshot.version, path)  # also stores the result for later reads
    folder.write(path, data)
    folder.write(folder.head, f"{snapshot.version} {digest}\n".encode())


def next_version(folder: Folder, head: Snapshot) -> int:
    """Return the number of the next snapshot."""
    version = 1 + max(head.version, *folder.versions(), 0)
    if version >= 10**12:
        raise CatalogError(f"{folder.head}: version {version} is out of range.")
    return version


def extended(folder: Folder, head: Snapshot) -> Snapshot:
    """Return HEAD with every shard committed since, under the next version number.

    The result is HEAD itself if there are no such shards. Superseded and dropped
    shards are left out, and so are shards of incomplete commits. A record without any of
    its files is left out too: a backup restored it after `gc`. Shards that a version after
    HEAD dropped stay dropped: HEAD came from a copy that had fewer versions.
    """
    groups = folder.group_names()
    dropped = head.dropped | _dropped_later(folder, head)
    new_shards = folder.manifest_names() - head.shards.keys() - dropped
    new_manifests = [read_manifest(folder, shard) for shard in new_shards]
    new_manifests = [m for m in new_manifests if m.whole(groups) and has_files(folder, m)]
    if not new_manifests and not dropped & head.shards.keys():
        return head
    known = [m for m in head.manifests if not m.pack]
    return Snapshot.of(next_version(folder, head), [*known, *new_manifests], dropped)


def has_files(folder: Folder, manifest: Manifest) -> bool:
    """Return whether a shard has any of its files."""
    return any((folder.root / file.path).exists() for file in manifest.own.values())


def _dropped_later(folder: Folder, head: Snapshot) -> frozenset[str]:
    """Return the shards that versions after HEAD dropped."""
    given_up: set[str] = set()
    for version in folder.versions():
        if version > head.version:
            with contextlib.suppress(ShardCorrupt):  # HEAD never named this version
                given_up |= read_unnamed(folder, version)[1].dropped
    return frozenset(given_up)


def cut_short(folder: Folder) -> set[str]:
    """Return the shards that have a commit record but belong to an incomplete commit.

    Under the commit lock, these are leftovers of a killed writer.
    """
    groups, head = folder.group_names(), read_head(folder)
    new_shards = folder.manifest_names() - head.shards.keys() - head.dropped
    manifests = [read_manifest(folder, shard) for shard in new_shards]
    return {manifest.shard for manifest in manifests if not manifest.whole(groups)}


def parse_head(text: bytes, where: str, advice: str = "") -> tuple[int, str]:
    """Read the version and the sha256 of its snapshot from the text of a HEAD.

    Parameters
    ----------
    where : str
        Name of the file in errors.
    advice : str, default=""
        Sentence that ends the error.

    Raises
    ------
    ShardCorrupt
        If the text is not that of a HEAD.
    """
    match = re.fullmatch(rb"([0-9]{1,12})(?: ([0-9a-f]{64}))?\n?", text)
    if match is None:
        raise ShardCorrupt(
            f"{where} must hold a version number and the sha256 of its snapshot. "
            f"Got {text[:80]!r}. {advice}".rstrip()
        )
    return int(match[1]), match[2].decode() if match[2] else ""


def parse_snapshot(data: bytes, version: int, where: str) -> Snapshot:
    """Read a snapshot from its text, every value checked.

    Raises
    ------
    ShardCorrupt
        If it is damaged or is another version.
    CatalogError
        If a newer major version of the format wrote it.
    """
    path = Path(where)
    return _checked(loads(path, data), version, path)
