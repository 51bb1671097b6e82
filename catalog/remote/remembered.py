"""Snapshots of remote catalogues that were read, for those who work offline.

The newest version is kept as a catalogue keeps it, by HEAD. A revision of a Hub repository,
which may have other versions under the same numbers, has a file of its own.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from catalog.errors import CatalogError, ShardCorrupt
from catalog.names import content_id
from catalog.remote.address import Address
from catalog.remote.remote_snapshot import RemoteSnapshot
from catalog.storage.folder import Folder
from catalog.storage.snapshot import (
    Snapshot,
    parse_head,
    parse_snapshot,
    read_head,
    read_snapshot,
)


def remember(
    folder: Folder, address: Address, remote: RemoteSnapshot, *, newest: bool
) -> None:
    """Note a snapshot whose metadata are in a mirror; what is known is not written again.

    Parameters
    ----------
    folder : Folder
        The mirror.
    newest : bool
        Whether it is the newest version, which is opened where no version is named.
    """
    version = remote.snapshot.version
    digest = hashlib.sha256(remote.data).hexdigest()
    head = f"{version} {digest}\n".encode()
    if address.revision:
        if newest:
            _write(folder, _revision(folder, address), head + remote.data)
        return
    _write(folder, folder.snapshot(version), remote.data)
    if newest:
        _write(folder, folder.head, head)


def remembered(folder: Folder, address: Address, at: int | None) -> Snapshot:
    """Return the snapshot that `remember` noted last, or another version of it.

    Raises
    ------
    NotFound
        If that version was not noted.
    CatalogError
        If none was.
    """
    if address.revision and at is None:
        snapshot = _of_revision(folder, address)
    else:
        snapshot = read_head(folder) if at is None else read_snapshot(folder, at)
    if not snapshot.version:
        revision = f"@{address.revision}" if address.revision else ""
        raise CatalogError(
            f"{address}{revision} is not in the cache {folder.root}. Open it once without "
            "--offline and PHASEZOO_OFFLINE."
        )
    return snapshot


def _of_revision(folder: Folder, address: Address) -> Snapshot:
    path = _revision(folder, address)
    try:
        head, _, data = folder.read(path).partition(b"\n")
    except FileNotFoundError:
        return Snapshot(0, ())
    version, digest = parse_head(head, str(path))
    if hashlib.sha256(data).hexdigest() != digest:
        raise ShardCorrupt(f"{path} is damaged. Open {address} once without --offline.")
    return parse_snapshot(data, version, str(path))


def _revision(folder: Folder, address: Address) -> Path:
    return folder.cache / "revisions" / f"{content_id(address.revision)}.json"


def _write(folder: Folder, path: Path, data: bytes) -> None:
    try:
        known = folder.read(path)
    except (FileNotFoundError, ShardCorrupt):
        known = None
    if known != data:
        folder.write(path, data)
