"""The store of an address."""

from __future__ import annotations

from pathlib import Path

from catalog.errors import CatalogError
from catalog.remote.address import Address
from catalog.remote.folder_store import FolderStore
from catalog.remote.store import Store, WritableStore


def readable_store(address: Address) -> Store:
    """Return the store of an address, for reading."""
    if address.kind == "http":
        from catalog.remote.http_store import HttpStore  # its HTTP library loads slowly

        return HttpStore(address.place, str(address))
    return writable_store(address)


def writable_store(address: Address, *, private: bool = False) -> WritableStore:
    """Return the store of an address, for publishing.

    Parameters
    ----------
    private : bool, default=False
        Make a repository of the Hub private when it is created.

    Raises
    ------
    CatalogError
        If one can only read there.
    """
    if address.kind == "folder":
        return FolderStore(Path(address.place))
    if address.kind == "s3":
        from catalog.remote.s3_store import S3Store

        return S3Store(address.place, address.prefix)
    if address.kind == "hf":
        from catalog.remote.hub_store import HubStore

        return HubStore(address.place, address.revision, private=private)
    raise CatalogError(
        f"{address} is a web folder, which can only be fetched from. Publish to "
        "hf://datasets/USER/NAME, s3://BUCKET/PREFIX or a folder."
    )
