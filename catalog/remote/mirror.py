"""Copies of the metadata of remote catalogues, shared by versions and processes.

A mirror looks like a catalogue without weights. Files have the names that they have there
and never change, so a newer version only adds some.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from catalog.errors import CannotWrite, CatalogError, ShardCorrupt
from catalog.remote.address import Address
from catalog.remote.download import download
from catalog.remote.remote_snapshot import RemoteSnapshot
from catalog.remote.store import Store
from catalog.storage.manifest import File
from catalog.storage.metadata import check_size
from catalog.storage.snapshot import Snapshot


def cache_root() -> Path:
    """Return ``PHASEZOO_CACHE``, or ``phasezoo`` in the user's cache folder."""
    if chosen := os.environ.get("PHASEZOO_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "phasezoo"


def mirror_root(address: Address) -> Path:
    """Return the folder of the mirror of an address."""
    return cache_root() / "remotes" / address.id


def metadata_files(snapshot: Snapshot) -> list[File]:
    """Return all files of a snapshot but those of weights."""
    return [
        file
        for manifest in snapshot.manifests
        for kind, file in manifest.own.items()
        if kind != "weights"
    ]


def mirror_metadata(
    store: Store,
    address: Address,
    remote: RemoteSnapshot,
    moved: Callable[[int], None] = lambda count: None,
) -> Path:
    """Bring the metadata of a snapshot into its mirror; return the folder.

    Raises
    ------
    CatalogError
        If a file cannot be downloaded, or is not the one that was committed.
    """
    root = mirror_root(address)
    missing = [file for file in metadata_files(remote.snapshot) if not _there(root, file)]
    incoming = root / "cache" / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    found = download(store, missing, incoming, moved=moved)
    for path, arrived in found.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(arrived, target)
        except FileNotFoundError:
            if not target.exists():  # else another process was quicker
                raise
    return root


def _there(root: Path, file: File) -> bool:
    try:
        check_size(root, file)
    except ShardCorrupt:
        return False
    return True


@contextlib.contextmanager
def using_cache() -> Iterator[None]:
    """Turn errors of the operating system in the cache into errors that say what to do.

    Raises
    ------
    CannotWrite
        If the operating system refuses.
    """
    try:
        yield
    except CatalogError:
        raise
    except OSError as error:
        raise CannotWrite(
            f"Cannot write to the cache {cache_root()}: {error.strerror or error}. Free "
            "some space, delete the cache, or name another folder: PHASEZOO_CACHE=DIR"
        ) from error
