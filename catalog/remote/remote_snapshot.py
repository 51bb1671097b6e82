"""The snapshot that a store holds."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import NamedTuple

from catalog.errors import CatalogError, NotFound, ShardCorrupt
from catalog.remote.store import RemoteHead, Store
from catalog.storage.snapshot import Snapshot, parse_head, parse_snapshot

LARGEST_SNAPSHOT = 256 << 20
"""Bytes of a remote snapshot above which it is not read."""


class RemoteSnapshot(NamedTuple):
    """A snapshot, and the HEAD that named it.

    Attributes
    ----------
    snapshot : Snapshot
        Version 0 where there is no catalogue.
    head : RemoteHead
    data : bytes
        Text of the snapshot, as it is stored.
    """

    snapshot: Snapshot
    head: RemoteHead
    data: bytes


def read_remote(store: Store, version: int | None = None) -> RemoteSnapshot:
    """Read the newest snapshot of a store, or another version.

    Raises
    ------
    NotFound
        If it has no such version.
    ShardCorrupt
        If HEAD or the snapshot is damaged.
    """
    for attempt in range(3):
        head = store.head()
        if head.text is None:
            if version is not None:
                raise NotFound(f"There is no catalogue at {store.address}.")
            return RemoteSnapshot(Snapshot(0, ()), head, b"")
        newest, digest = parse_head(head.text, f"{store.address}/HEAD")
        wanted = newest if version is None else version
        path = f"snapshots/{wanted}.json"
        try:
            data = store.read(path, LARGEST_SNAPSHOT)
        except NotFound as error:
            if version is None and attempt < 2:
                continue  # it was superseded and deleted since HEAD was read
            raise NotFound(
                f"{store.address} has no version {wanted}; its newest is {newest}."
            ) from error
        if wanted == newest and digest and hashlib.sha256(data).hexdigest() != digest:
            if attempt < 2:
                continue
            raise ShardCorrupt(
                f"{store.address}/{path} is not what HEAD names (its sha256 differs). Ask "
                "whoever published it to publish again."
            )
        where = PurePosixPath(f"{store.address}/{path}")
        return RemoteSnapshot(parse_snapshot(data, wanted, str(where)), head, data)
    raise CatalogError(f"{store.address} changes faster than it can be read; try again.")
