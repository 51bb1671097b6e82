"""Files that no commit names and no living writer owns: what killed processes left."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError, ShardCorrupt
from catalog.storage.folder import SHARD_NAME, Folder
from catalog.storage.manifest import parse_json
from catalog.storage.snapshot import cut_short, read_head
from catalog.storage.temporaries import TEMPORARY, abandoned, delete_abandoned

FITTED = ("generators", "probes")
"""Folders of fitted things, which no commit names."""

_LOCKED = ("cache", *FITTED)
"""Folders whose temporary files are locked by whoever writes them."""


def find_leftovers(
    folder: Folder, committed: Collection[str], *, doubtful: bool = False
) -> list[Path]:
    """Return the leftovers of a catalogue; call it under the commit lock to delete them.

    Files of shards that an older version names are none: ``--at`` reads them.

    Parameters
    ----------
    committed : collection of str
        Shards that exist.
    doubtful : bool, default=False
        Commit records are damaged: those of commits that were cut short are not told.
    """
    cut = set() if doubtful else cut_short(folder)
    dropped: Collection[str] = ()
    with contextlib.suppress(CatalogError):  # who calls tells that HEAD is damaged
        dropped = read_head(folder).dropped
    found = folder.leftovers(set(committed), cut, dropped)
    shards = {path.stem for path in found if SHARD_NAME.fullmatch(path.stem)}
    needed: set[str] = set()
    for version in folder.versions() if shards else ():
        path = folder.snapshot(version)
        try:
            needed |= shards & _named(parse_json(folder, path))
        except ShardCorrupt:  # damaged, or collected meanwhile
            with contextlib.suppress(OSError):
                data = path.read_bytes()
                needed |= {shard for shard in shards if shard.encode() in data}
    return [
        *(path for path in found if path.stem not in needed),
        *_temporaries(folder.root),
    ]


def delete(folder: Folder, path: Path) -> None:
    """Delete a file that no one needs, unless somebody took it up meanwhile.

    Raises
    ------
    OSError
        If it cannot be deleted.
    CatalogError
        If another folder stands where the catalogue was: nothing of it is deleted.
    """
    folder.check_same()
    if TEMPORARY.fullmatch(path.name) and path.parent.name in _LOCKED:
        delete_abandoned(path)
    else:
        path.unlink(missing_ok=True)


def _temporaries(root: Path) -> list[Path]:
    """Temporary files and folders of fits and of the index that nobody writes any more."""
    found = []
    for name in _LOCKED:
        folder = root / name
        if not folder.is_symlink():
            with contextlib.suppress(FileNotFoundError):
                found += [path for path in sorted(folder.iterdir()) if abandoned(path)]
    return found


def _named(snapshot: Any) -> set[str]:
    """Shards that a version may read, whatever else its file says."""
    if not isinstance(snapshot, dict) or not isinstance(snapshot.get("shards"), list):
        raise ShardCorrupt("This is no snapshot.")
    named: set[str] = set()
    for shard in snapshot["shards"]:
        members = shard.get("members", []) if isinstance(shard, dict) else []
        for record in [shard, *(members if isinstance(members, list) else [])]:
            name = record.get("shard") if isinstance(record, dict) else None
            if not isinstance(name, str):
                raise ShardCorrupt("This snapshot has a shard without a name.")
            named.add(name)
    return named
