"""Fetching: a remote catalogue, or its newer part, becomes a part of a local one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from catalog.errors import CatalogError, NotFound
from catalog.names import canonical_json
from catalog.remote.address import parse_address, pinned
from catalog.remote.agreement import ComparedShards, check_agreement
from catalog.remote.download import check_room, download
from catalog.remote.origins import known_parts, known_shards, record_shards
from catalog.remote.remote_snapshot import read_remote
from catalog.remote.removals import check_removals
from catalog.remote.stores import readable_store
from catalog.storage.card import write_card
from catalog.storage.folder import Folder
from catalog.storage.inside_folder import check_inside
from catalog.storage.manifest import File, Manifest
from catalog.storage.metadata import is_whole
from catalog.storage.snapshot import (
    Snapshot,
    extended,
    newest_snapshot,
    next_version,
    publish_snapshot,
    read_head,
)


@dataclass(frozen=True)
class FetchPlan:
    """Plan of a fetch.

    Attributes
    ----------
    source : str
        Address.
    version : int
        Version of the source.
    shards : int
        Shards of networks that are new here.
    withdrawn : tuple of str
        Shards that came from the source earlier and are there no more: they go here too.
    removed : tuple of str
        Shards that came from the source earlier and were removed here: they stay away.
    files : tuple of File
        Files to download.
    bytes : int
        Their size.
    """

    source: str
    version: int
    shards: int
    withdrawn: tuple[str, ...]
    removed: tuple[str, ...]
    files: tuple[File, ...]
    bytes: int


class Fetch:
    """A fetch of everything that a source has.

    Parameters
    ----------
    source : str
        ``hf://datasets/USER/NAME``, ``s3://BUCKET/PREFIX``, ``https://HOST/FOLDER`` or a
        folder.
    root : Path
        Local catalogue, which is made if it is not there.
    revision : str, optional
        Version number; for the Hub a branch, tag or commit.
    again : bool, default=False
        Fetch also what came from this source before and was removed here.

    Raises
    ------
    NotFound
        If there is no catalogue at the source, or no such revision.
    CatalogError
        If the source cannot be read.
    """

    def __init__(
        self, source: str, root: Path, *, revision: str | None = None, again: bool = False
    ) -> None:
        self.address, version = pinned(parse_address(source), revision)
        self.root = root
        self._store = readable_store(self.address)
        self._remote = read_remote(self._store, version)
        if not self._remote.snapshot.version:
            raise NotFound(f"There is no catalogue at {self._store.address}.")
        self._folder = Folder(root.absolute())
        exists = (root / "manifests").is_dir()
        local = newest_snapshot(self._folder) if exists else Snapshot(0, ())
        self._known = known_shards(self._folder, self.address) if exists else set()
        self.plan = self._planned(local, again)

    def _planned(self, local: Snapshot, again: bool) -> FetchPlan:
        remote = self._remote.snapshot
        removed = set() if again else self._known & (remote.leaves - local.leaves)
        new = _wanted(remote, local, removed)
        held = {file.path for m in local.manifests for file in m.own.values()}
        files = {f.path: f for m in new for f in m.own.values() if f.path not in held}
        withdrawn = (self._known & local.leaves) - remote.shards.keys()
        return FetchPlan(
            source=str(self.address),
            version=remote.version,
            shards=sum(m.content in ("weights", "metrics") for m in new),
            withdrawn=tuple(sorted(withdrawn)),
            removed=tuple(sorted(removed)),
            files=tuple(files.values()),
            bytes=sum(file.bytes for file in files.values()),
        )

    def run(
        self, *, verify: bool = True, moved: Callable[[int], None] = lambda count: None
    ) -> Snapshot:
        """Download what is missing and commit it all at once.

        Parameters
        ----------
        verify : bool, default=True
            Compare the files with their digests.
        moved : callable, optional
            Called with numbers of bytes, from several threads.

        Returns
        -------
        Snapshot
            The local catalogue with what was fetched.

        Raises
        ------
        CatalogError
            If a download fails, or both sides have other weights for one checkpoint:
            nothing is committed. What has arrived stays in the cache.
        """
        plan, folder = self.plan, self._folder
        check_room(folder.root, plan.bytes)
        with folder.writing():
            folder.create()
            folder.pin()  # another folder in its place is not written to
            incoming = folder.root / "cache" / "incoming"
            folder.make(incoming)
            arrived = download(
                self._store,
                plan.files,
                incoming,
                there=partial(is_whole, folder.root),  # another fetch was quicker
                verify=verify,
                moved=moved,
            )
            with folder.lock():
                return self._commit(arrived)

    def _commit(self, arrived: dict[str, Path]) -> Snapshot:
        """Give the files their names and write a version that has them."""
        folder, remote = self._folder, self._remote.snapshot
        head = read_head(folder)
        local = extended(folder, head)
        for path, source in arrived.items():
            target = folder.root / path
            folder.make(target.parent)
            check_inside(folder.root, target)
            if target.exists():  # another fetch was quicker
                source.unlink(missing_ok=True)
            else:
                _sync(source)
                folder.publish(source, target)
        absent = set(self.plan.removed)
        new = _wanted(remote, local, absent)
        for file in (file for manifest in new for file in manifest.own.values()):
            if not is_whole(folder.root, file):
                raise CatalogError(
                    f"{folder.root / file.path} was deleted while it was fetched. Nothing "
                    "is visible of this fetch yet; run the same command again."
                )
        self._check(local, new)
        top = [m for m in local.manifests if not m.pack]
        arriving = _grouped([m for m in new if not m.pack])
        top += arriving
        dropped = local.dropped - {m.shard for m in new}
        dropped |= absent | set(self.plan.withdrawn)
        # A pack that comes may hold rows of shards that are there no more.
        members = {member.shard for m in new for member in m.members}
        dropped |= members - remote.shards.keys() - local.shards.keys()
        joined = Snapshot.of(next_version(folder, head), top, dropped)
        changed = joined.shards.keys() != local.shards.keys()
        if changed or joined.dropped != local.dropped:
            write_records(folder, arriving)
            publish_snapshot(folder, joined, head.version)
            write_card(folder, joined)
        else:
            joined = local
        record_shards(folder, self.address, self._known | remote.leaves)
        return joined

    def _check(self, local: Snapshot, new: list[Manifest]) -> None:
        root = self._folder.root
        shared = self._known | known_parts(self._folder, self.address)
        check_removals(root, local, new, shared, str(self.address))
        check_agreement(
            ComparedShards(root, local.manifests, frozenset(local.shards)),
            ComparedShards(root, new, frozenset(manifest.shard for manifest in new)),
            str(self.address),
        )


def _wanted(remote: Snapshot, local: Snapshot, absent: set[str]) -> list[Manifest]:
    """Return the shards that a local catalogue lacks, and packs that hold their rows."""
    new = remote.shards.keys() - local.shards.keys() - absent
    packs = {remote.shards[shard].pack for shard in new}
    return [
        m
        for m in remote.manifests
        if m.shard in new and (m.content != "pack" or m.shard in packs)
    ]


def _grouped(manifests: list[Manifest]) -> list[Manifest]:
    """Let shards share one commit: all of them exist from the same moment."""
    if len(manifests) < 2:
        return [replace(m, group="") for m in manifests]
    group = f"{secrets.token_hex(6)}-000001"
    return [replace(m, group=group) for m in manifests]


def write_records(folder: Folder, manifests: list[Manifest]) -> None:
    """Write the commit records of shards, and last the file that completes their group."""
    records = {
        folder.manifest(m.shard): canonical_json(m.to_json()).encode() for m in manifests
    }
    records |= {folder.group(m.group): b"" for m in manifests if m.group}
    if records:
        folder.write_all(records)


def _sync(path: Path) -> None:
    """Make the content of a file last before it gets its name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
