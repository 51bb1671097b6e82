"""Copies of the metadata of remote catalogues, shared by versions and processes.

A mirror looks like a catalogue without weights. Files have the names that they have there
and never change, so a newer version only adds some.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from catalog.remote.address import Address
from catalog.remote.cache_bound import keep_within_bound
from catalog.remote.cache_folder import MirrorInUse, cache_refusals, mirror_root
from catalog.remote.download import download
from catalog.remote.remote_snapshot import RemoteSnapshot
from catalog.remote.store import Store
from catalog.storage.manifest import File
from catalog.storage.metadata import is_whole
from catalog.storage.snapshot import Snapshot


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
    """Bring the metadata of a snapshot into its mirror.

    Returns
    -------
    Path
        The mirror; hold a `MirrorInUse` while it is read.

    Raises
    ------
    CatalogError
        If a file cannot be downloaded, is not the one that was committed, or the cache
        cannot be written.
    """
    root = mirror_root(address)
    in_use = MirrorInUse(root, address, offline=False)
    missing = [file for file in metadata_files(remote.snapshot) if not is_whole(root, file)]
    if missing:
        with cache_refusals(root):
            _bring(store, root, missing, moved)
        keep_within_bound(root, sum(file.bytes for file in missing))
    del in_use
    return root


def _bring(
    store: Store, root: Path, files: Sequence[File], moved: Callable[[int], None]
) -> None:
    incoming = root / "cache" / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    arrived = download(store, files, incoming, there=partial(is_whole, root), moved=moved)
    for path, source in arrived.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(source, target)
        except FileNotFoundError:
            if not target.exists():  # else another process was quicker
                raise
