"""Versions of a catalogue: immutable lists of shards, and the HEAD that names one."""

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
    FORMAT,
    Manifest,
    check_format,
    loads,
    read_bytes,
    read_manifest,
)


@dataclass(frozen=True)
class Snapshot:
    """All shards of one version, in order of commit.

    Attributes
    ----------
    version : int
        0 is the empty catalogue.
    manifests : tuple of Manifest
        Sorted by `Manifest.order`; the members of packs included.
    dropped : frozenset of str
        Shards that `gc` gave up and packs that newer ones supersede: they do not
        exist, whether or not their manifest still does.
    """

    version: int
    manifests: tuple[Manifest, ...]
    dropped: frozenset[str] = frozenset()

    @cached_property
    def id(self) -> str:
        """Identifier derived from the content, whatever the version is called."""
        return content_id([[m.shard + m.pack, *m.order] for m in self.manifests], 16)

    @cached_property
    def shards(self) -> dict[str, Manifest]:
        """Manifests by shard name."""
        return {manifest.shard: manifest for manifest in self.manifests}

    @classmethod
    def of(
        cls, version: int, manifests: Iterable[Manifest], dropped: Iterable[str] = ()
    ) -> Snapshot:
        """A snapshot from commit records: packs supersede what they hold.

        A shard that several packs hold belongs to the newest of them; a pack whose
        members all belong to newer ones is superseded itself.
        """
        gone = frozenset(dropped)
        known = {m.shard: m for m in manifests if m.shard not in gone and not m.pack}
        packs = [m for m in known.values() if m.content == "pack"]
        held: dict[str, Manifest] = {}
        for pack in sorted(packs, key=lambda m: m.order):
            held |= {m.shard: m for m in pack.members if m.shard not in gone}
        living = {member.pack for member in held.values()}
        idle = frozenset(pack.shard for pack in packs) - living
        loose = [m for m in known.values() if m.shard not in held.keys() | idle]
        loose = [_less_superseded(m, held) if m.members else m for m in loose]
        ordered = sorted([*loose, *held.values()], key=lambda m: m.order)
        return cls(version, tuple(ordered), gone | idle)

    def to_json(self, parent: int) -> dict[str, Any]:
        """Plain values for JSON."""
        top = [manifest for manifest in self.manifests if not manifest.pack]
        formats = [m.format for m in top] + [FORMAT if self.dropped else FIRST_FORMAT]
        value = {
            "format": list(max(formats)),
            "version": self.version,
            "parent": parent,
            "shards": [manifest.to_json() for manifest in top],
        }
        return value | ({"dropped": sorted(self.dropped)} if self.dropped else {})


def _less_superseded(pack: Manifest, held: Mapping[str, Manifest]) -> Manifest:
    """A pack that knows which of its members it does not stand for any more."""
    names = [member.shard for member in pack.members]
    gone = {name for name in names if name not in held or held[name].pack != pack.shard}
    return replace(pack, superseded=frozenset(gone))


def read_head(folder: Folder) -> Snapshot:
    """The snapshot that HEAD names; version 0 if there is none yet.

    Raises
    ------
    ShardCorrupt
        If HEAD or its snapshot is damaged.
    CatalogError
        If a newer major version of the format wrote it.
    """
    text = _head_text(folder)
    while True:
        try:
            return _read_head(folder, text)
        except ShardCorrupt:
            before, text = text, _head_text(folder)
            if text == before:  # HEAD did not move while its version was deleted
                raise


def _head_text(folder: Folder) -> bytes | None:
    try:
        return folder.read(folder.head)
    except FileNotFoundError:
        return None


def _read_head(folder: Folder, text: bytes | None) -> Snapshot:
    if text is None:
        return Snapshot(0, ())
    match = re.fullmatch(rb"([0-9]{1,12})(?: ([0-9a-f]{64}))?\n?", text)
    if match is None:
        raise ShardCorrupt(
            f"{folder.head} must hold a version number and the sha256 of its snapshot. "
            f"Got {text[:80]!r}. Delete it: it is rebuilt from manifests/."
        )
    return _read(folder, int(match[1]), match[2].decode() if match[2] else "")


def read_snapshot(folder: Folder, version: int) -> Snapshot:
    """One version, also an old one.

    Raises
    ------
    NotFound
        If there is no such version, or `gc` has deleted it.
    ShardCorrupt
        If it is damaged.
    """
    head = read_head(folder)
    if version == head.version:
        return head
    known = sorted(folder.versions())
    if version not in known or version > head.version:
        shown = ", ".join(str(v) for v in known if v <= head.version)
        raise NotFound(
            f"{folder.root} has no version {version}. It has: {shown or 'none'}. "
            "'phasezoo gc' deletes old ones."
        )
    return _read(folder, version, "")


def read_unnamed(folder: Folder, version: int) -> tuple[bytes, Snapshot]:
    """Read a version that HEAD does not vouch for, with the bytes of its file.

    Raises
    ------
    ShardCorrupt
        If it is missing or damaged.
    """
    path = folder.snapshot(version)
    data = read_bytes(folder, path)
    return data, _checked(loads(path, data), version, path)


def _read(folder: Folder, version: int, sha256: str) -> Snapshot:
    """Read and check a version; what has the same bytes is parsed once a process."""
    path = folder.snapshot(version)
    data = read_bytes(folder, path, sha256)
    digest = sha256 or hashlib.sha256(data).hexdigest()
    return _parse(data, digest, version, path)


def _parse(data: bytes, digest: str, version: int, path: Path) -> Snapshot:
    if digest not in _parsed:
        value = loads(path, data)
        while len(_parsed) >= _KEPT:
            _parsed.pop(next(iter(_parsed)), None)
        _parsed[digest] = _checked(value, version, path)
    return _parsed[digest]


_KEPT = 4
_parsed: dict[str, Snapshot] = {}


def _checked(value: Any, version: int, path: Path) -> Snapshot:
    if not isinstance(value, dict) or not isinstance(value.get("shards"), list):
        raise ShardCorrupt(f"{path} is not a snapshot. Run 'phasezoo verify'.")
    check_format(value.get("format"), str(path))
    if value.get("version", version) != version:
        raise ShardCorrupt(f"{path} is another version. Run 'phasezoo verify'.")
    dropped = value.get("dropped", [])
    names = isinstance(dropped, list) and all(isinstance(d, str) for d in dropped)
    if not names or not all(SHARD_NAME.fullmatch(d) for d in dropped):
        raise ShardCorrupt(f"{path}: 'dropped' is no list of shards.")
    manifests = [Manifest.from_json(m, str(path)) for m in value["shards"]]
    return Snapshot.of(version, manifests, dropped)


def newest_snapshot(folder: Folder, *, publish: bool = True) -> Snapshot:
    """The newest state: HEAD plus every manifest committed since.

    Parameters
    ----------
    publish : bool, default=True
        Write a new snapshot and move HEAD if there are new shards. A folder that
        cannot be written is read without.
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
    """Write a snapshot and move HEAD to it; call it under the commit lock.

    Raises
    ------
    ShardCorrupt
        If a reader would refuse it: HEAD stays where it is.
    """
    data = canonical_json(snapshot.to_json(parent)).encode()
    digest = hashlib.sha256(data).hexdigest()
    path = folder.snapshot(snapshot.version)
    _parse(data, digest, snapshot.version, path)  # kept, so that no one parses it again
    folder.write(path, data)
    folder.write(folder.head, f"{snapshot.version} {digest}\n".encode())


def next_version(folder: Folder, head: Snapshot) -> int:
    """Number of the snapshot after HEAD."""
    version = 1 + max(head.version, *folder.versions(), 0)
    if version >= 10**12:
        raise CatalogError(f"{folder.head}: version {version} is out of range.")
    return version


def extended(folder: Folder, head: Snapshot) -> Snapshot:
    """HEAD plus every shard committed since, under the next version's number.

    HEAD itself if there is none. Shards that were superseded or given up do not count,
    nor does a commit of several that was cut short, nor a record without any of its files:
    a backup brought it back after `gc`. What a version after HEAD gave up, is given up:
    HEAD came from a copy that had fewer versions.
    """
    groups = folder.group_names()
    dropped = head.dropped | _given_up_later(folder, head)
    news = folder.manifest_names() - head.shards.keys() - dropped
    found = [read_manifest(folder, shard) for shard in news]
    found = [m for m in found if m.whole(groups) and has_files(folder, m)]
    if not found and not dropped & head.shards.keys():
        return head
    known = [m for m in head.manifests if not m.pack]
    return Snapshot.of(next_version(folder, head), [*known, *found], dropped)


def has_files(folder: Folder, manifest: Manifest) -> bool:
    """Report if any file that a shard should have is there."""
    return any((folder.root / file.path).exists() for file in manifest.own.values())


def _given_up_later(folder: Folder, head: Snapshot) -> frozenset[str]:
    found: set[str] = set()
    for version in folder.versions():
        if version > head.version:
            with contextlib.suppress(ShardCorrupt):  # it never was HEAD's
                found |= read_unnamed(folder, version)[1].dropped
    return frozenset(found)


def cut_short(folder: Folder) -> set[str]:
    """Shards with a commit record that do not exist: the last of their commit is missing.

    Under the commit lock these are what a killed writer left behind.
    """
    groups, head = folder.group_names(), read_head(folder)
    news = folder.manifest_names() - head.shards.keys() - head.dropped
    found = [read_manifest(folder, shard) for shard in news]
    return {manifest.shard for manifest in found if not manifest.whole(groups)}


def parse_head(text: bytes, where: str) -> tuple[int, str]:
    """Read the version and the sha256 of its snapshot from the text of a HEAD.

    Parameters
    ----------
    where : str
        Name of the file in errors.

    Raises
    ------
    ShardCorrupt
        If the text is no HEAD.
    """
    match = re.fullmatch(rb"([0-9]{1,12})(?: ([0-9a-f]{64}))?\n?", text)
    if match is None:
        raise ShardCorrupt(
            f"{where} must hold a version number and the sha256 of its snapshot. "
            f"Got {text[:80]!r}."
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
