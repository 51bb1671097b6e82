"""A catalogue that stays where it is: metadata in a cache, weights by range."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from catalog.catalog import Catalog
from catalog.console.pasting import word
from catalog.errors import CatalogError, NotFound
from catalog.query.allowed_folders import allowed_folders
from catalog.query.stored_weights import StoredWeights
from catalog.remote.address import Address
from catalog.remote.mirror import mirror_metadata, mirror_root
from catalog.remote.remote_reader import RemoteShardReader
from catalog.remote.remote_snapshot import RemoteSnapshot, read_remote
from catalog.remote.sparse_file import SparseFile
from catalog.remote.store import RemoteHead, Store
from catalog.remote.stores import readable_store
from catalog.storage.folder import Folder
from catalog.storage.manifest import Manifest
from catalog.storage.reader import ShardReader
from catalog.storage.snapshot import read_head, read_snapshot
from catalog.writer import Writer


def is_offline() -> bool:
    """Report if ``PHASEZOO_OFFLINE`` asks to use nothing but the cache."""
    return os.environ.get("PHASEZOO_OFFLINE", "") not in ("", "0")


class RemoteCatalog(Catalog):
    """A remote catalogue as of one snapshot; it can be read only.

    Parameters
    ----------
    address : Address
    at : int, optional
        Version; default: the newest.
    allow : sequence of str or Path, optional
        Folders whose files queries may read.

    Raises
    ------
    NotFound
        If there is no catalogue, or no such version.
    CatalogError
        If it cannot be read, or, offline, is not in the cache.
    """

    def __init__(
        self,
        address: Address,
        *,
        at: int | None = None,
        allow: Sequence[str | Path] = (),
    ) -> None:
        self._address = address
        self._store: Store | None = None if is_offline() else readable_store(address)
        self.root = mirror_root(address)
        self.root.mkdir(parents=True, exist_ok=True)
        self._folder = Folder(self.root)
        remote = self._remembered(at) if self._store is None else self._read(at)
        self._folder.pin()
        self._at, self._cached = at, True
        self._allow = allowed_folders(allow)
        self.snapshot = remote.snapshot

    def _read(self, at: int | None) -> RemoteSnapshot:
        """Read the snapshot, bring its metadata here, and note what was read."""
        assert self._store is not None
        remote = read_remote(self._store, at)
        version = remote.snapshot.version
        if not version:
            raise NotFound(f"There is no catalogue at {self._address}.")
        mirror_metadata(self._store, self._address, remote)
        self._folder.write(self._folder.snapshot(version), remote.data)
        if at is None:
            digest = hashlib.sha256(remote.data).hexdigest()
            self._folder.write(self._folder.head, f"{version} {digest}\n".encode())
        return remote

    def _remembered(self, at: int | None) -> RemoteSnapshot:
        """Return what an earlier opening brought here."""
        snapshot = (
            read_head(self._folder) if at is None else read_snapshot(self._folder, at)
        )
        if not snapshot.version:
            raise CatalogError(
                f"{self._address} is not in the cache {self.root}. Open it once without "
                "PHASEZOO_OFFLINE."
            )
        return RemoteSnapshot(snapshot, RemoteHead(None, ""), b"")

    def __repr__(self) -> str:
        return f"Catalog({str(self._address)!r}, version {self.snapshot.version})"

    def refreshed(self) -> RemoteCatalog:
        """Return the catalogue at its newest version."""
        return RemoteCatalog(self._address, allow=self._allow)

    def writer(self, *, spare: bool = False) -> Writer:
        """Refuse: a remote catalogue is not written to in place.

        Raises
        ------
        CatalogError
            Always; it says how to get a catalogue that can be written.
        """
        raise CatalogError(
            f"{self._address} is read where it is and cannot be written to. Fetch it "
            f"first: phasezoo fetch {word(self._address)} --catalog DIR; then publish what "
            "is new."
        )

    @property
    def store(self) -> Store:
        """Place of the files.

        Raises
        ------
        CatalogError
            If ``PHASEZOO_OFFLINE`` forbids to use it.
        """
        if self._store is None:
            raise CatalogError(
                f"{self._address} cannot be reached while PHASEZOO_OFFLINE is set."
            )
        return self._store

    def reader(self, shard: str) -> RemoteShardReader:
        """Return the reader of a shard, which downloads what is read.

        Raises
        ------
        ShardCorrupt
            If the shard has no weights, or its metadata is damaged.
        """
        reader = self._weights.reader(shard)
        assert isinstance(reader, RemoteShardReader)
        return reader

    @cached_property
    def _weights(self) -> StoredWeights:
        return _RemoteWeights(self, self._store)


class _RemoteWeights(StoredWeights):
    """Readers of shards that download what is read."""

    def __init__(self, catalog: RemoteCatalog, store: Store | None) -> None:
        super().__init__(catalog.root, catalog.snapshot, catalog._database)
        self._store = store

    def _open_reader(self, manifest: Manifest) -> ShardReader:
        file = SparseFile(self._store, manifest.files["weights"], self._root)
        chunks, layout = self._chunks(manifest.shard), self.layout(manifest.arch_id)
        return RemoteShardReader(file, manifest, layout, chunks)
