"""Versions of a catalogue: immutable lists of shards, and the HEAD that names one."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from catalog.errors import CatalogError, ShardCorrupt
from catalog.folder import Folder
from catalog.manifest import FORMAT, Manifest, check_format, parse_json, read_manifest
from catalog.names import canonical_json, content_id


@dataclass(frozen=True)
class Snapshot:
    """All shards of one version, in order of commit.

    Attributes
    ----------
    version : int
        0 is the empty catalogue.
    manifests : tuple of Manifest
        Sorted by `Manifest.order`.
    """

    version: int
    manifests: tuple[Manifest, ...]

    @cached_property
    def id(self) -> str:
        """Identifier derived from the content, whatever the version is called."""
        return content_id([[m.shard, *m.order] for m in self.manifests], 16)

    @cached_property
    def shards(self) -> dict[str, Manifest]:
        """Manifests by shard name."""
        return {manifest.shard: manifest for manifest in self.manifests}


def read_head(folder: Folder) -> Snapshot:
    """The snapshot that HEAD names; version 0 if there is none yet.

    Raises
    ------
    ShardCorrupt
        If HEAD or its snapshot is damaged.
    CatalogError
        If a newer major version of the format wrote it.
    """
    try:
        text = folder.head.read_bytes()
    except FileNotFoundError:
        return Snapshot(0, ())
    match = re.fullmatch(rb"([0-9]{1,12})(?: ([0-9a-f]{64}))?\n?", text)
    if match is None:
        raise ShardCorrupt(
            f"{folder.head} must hold a version number and the sha256 of its snapshot. "
            f"Got {text[:80]!r}. Delete it: it is rebuilt from manifests/."
        )
    version = int(match[1])
    path = folder.snapshot(version)
    value = parse_json(path, match[2].decode() if match[2] else "")
    if not isinstance(value, dict) or not isinstance(value.get("shards"), list):
        raise ShardCorrupt(f"{path} is not a snapshot. Run 'phasezoo verify'.")
    check_format(value.get("format"), str(path))
    manifests = [Manifest.from_json(m, str(path)) for m in value["shards"]]
    return Snapshot(version, tuple(sorted(manifests, key=lambda m: m.order)))


def refresh(folder: Folder, *, publish: bool = True) -> Snapshot:
    """The newest state: HEAD plus every manifest committed since.

    Parameters
    ----------
    publish : bool, default=True
        Write a new snapshot and move HEAD if there are new shards. A folder that
        cannot be written is read without.
    """
    head = read_head(folder)
    if not _news(folder, head):
        return head
    if not publish:
        return _extended(folder, head)
    with folder.lock():
        head = read_head(folder)
        if not _news(folder, head):
            return head
        snapshot = _extended(folder, head)
        value = {
            "format": list(FORMAT),
            "version": snapshot.version,
            "parent": head.version,
            "shards": [manifest.to_json() for manifest in snapshot.manifests],
        }
        data = canonical_json(value).encode()
        folder.write(folder.snapshot(snapshot.version), data)
        digest = hashlib.sha256(data).hexdigest()
        folder.write(folder.head, f"{snapshot.version} {digest}\n".encode())
    return snapshot


def _news(folder: Folder, head: Snapshot) -> set[str]:
    return folder.manifest_names() - head.shards.keys()


def _extended(folder: Folder, head: Snapshot) -> Snapshot:
    manifests = list(head.manifests)
    for shard in _news(folder, head):
        manifests.append(read_manifest(folder, shard))
    version = 1 + max(head.version, folder.newest_snapshot())
    if version >= 10**12:
        raise CatalogError(f"{folder.head}: version {version} is out of range.")
    return Snapshot(version, tuple(sorted(manifests, key=lambda m: m.order)))
