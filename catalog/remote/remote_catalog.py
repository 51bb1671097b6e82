"""A catalogue that stays where it is: metadata in a cache, weights by range."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from catalog.catalog import Catalog
from catalog.console.pasting import word
from catalog.errors import CatalogError, NotFound
from catalog.query.allowed_folders import allowed_folders
from catalog.query.stored_weights import StoredWeights
from catalog.remote.address import Address
from catalog.remote.cache_bound import cache_bound
from catalog.remote.cache_folder import MirrorInUse, cache_refusals, mirror_root
from catalog.remote.mirror import mirror_metadata
from catalog.remote.remembered import remember, remembered
from catalog.remote.remote_reader import RemoteShardReader
from catalog.remote.remote_snapshot import read_remote
from catalog.remote.sparse_file import SparseFile
from catalog.remote.store import Store
from catalog.remote.stores import readable_store
from catalog.storage.folder import Folder
from catalog.storage.manifest import Manifest
from catalog.storage.reader import ShardReader
from catalog.storage.snapshot import Snapshot
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
    offline : bool, optional
        Whether to use the cache alone; default: as ``PHASEZOO_OFFLINE`` says.

    Raises
    ------
    NotFound
        If there is no catalogue, or no such version.
    CatalogError
        If it cannot be read, the cache cannot be written, or, offline, the catalogue is
        not in the cache.
    """

    def __init__(
        self,
        address: Address,
        *,
        at: int | None = None,
        allow: Sequence[str | Path] = (),
        offline: bool | None = None,
    ) -> None:
        cache_bound()  # a wrong size is refused before anything is read
        self._address = address
        self._offline = is_offline() if offline is None else offline
        self._store: Store | None = None if self._offline else readable_store(address)
        self.root = mirror_root(address)
        self._in_use = MirrorInUse(self.root, address, offline=self._offline)
        self._folder = Folder(self.root)
        self._folder.pin()
        self._at, self._cached = at, True
        self._allow = allowed_folders(allow)
        if self._store is None:
            self.snapshot = remembered(self._folder, address, at)
        else:
            self.snapshot = self._read(self._store, at)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._address, self.version, self._allow, self._offline)

    def _read(self, store: Store, at: int | None) -> Snapshot:
        """Read the snapshot, bring its metadata here, and note what was read."""
        remote = read_remote(store, at)
        if not remote.snapshot.version:
            raise NotFound(f"There is no catalogue at {self._address}.")
        mirror_metadata(store, self._address, remote)
        with cache_refusals(self.root):
            remember(self._folder, self._address, remote, newest=at is None)
        return remote.snapshot

    @property
    def writable(self) -> bool:
        """False: nothing is written to a remote catalogue."""
        return False

    def __repr__(self) -> str:
        return f"Catalog({str(self._address)!r}, version {self.snapshot.version})"

    def refreshed(self) -> RemoteCatalog:
        """Return the catalogue at its newest version."""
        return RemoteCatalog(self._address, allow=self._allow, offline=self._offline)

    def writer(self, *, spare: bool = False) -> Writer:
        """Refuse: a remote catalogue is not written to in place; see `check_writable`."""
        self.check_writable()
        raise AssertionError("a remote catalogue is never writable")

    def check_writable(self) -> None:
        """Refuse, and say how to get a catalogue that can be written."""
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
            Offline, where it may not be used.
        """
        if self._store is None:
            raise CatalogError(
                f"{self._address} is not used with --offline or PHASEZOO_OFFLINE."
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
        self._in_use = catalog._in_use  # as long as a selection lives

    def _open_reader(self, manifest: Manifest) -> ShardReader:
        file = SparseFile(self._store, manifest.files["weights"], self._root)
        chunks, layout = self._chunks(manifest.shard), self.layout(manifest.arch_id)
        return RemoteShardReader(file, manifest, layout, chunks)


def _reopened(
    address: Address, version: int, allow: Sequence[str], offline: bool
) -> RemoteCatalog:
    return RemoteCatalog(address, at=version, allow=allow, offline=offline)
