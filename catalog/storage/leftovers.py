"""Leftovers of killed processes: files that no commit names and no live writer owns."""

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
"""Folders of fitted objects, which no commit names."""

_LOCKED = ("cache", *FITTED)
"""Folders whose temporary files are locked by their writers."""


def find_leftovers(
    folder: Folder, committed: Collection[str], *, doubtful: bool = False
) -> list[Path]:
    """Return the leftovers of a catalogue.

    Call it under the commit lock if the leftovers are to be deleted. Files of shards that
    an older version names are not leftovers, because ``--at`` reads them.

    Parameters
    ----------
    folder : Folder
        Folder of the catalogue.
    committed : collection of str
        Shards that exist.
    doubtful : bool, default=False
        Whether commit records are damaged; files of incomplete commits are then not
        counted as leftovers.
    """
    cut = set() if doubtful else cut_short(folder)
    dropped: Collection[str] = ()
    with contextlib.suppress(CatalogError):  # the caller reports a damaged HEAD
        dropped = read_head(folder).dropped
    candidates = folder.leftovers(set(committed), cut, dropped)
    shards = {path.stem for path in candidates if SHARD_NAME.fullmatch(path.stem)}
    needed: set[str] = set()
    for version in folder.versions() if shards else ():
        path = folder.snapshot(version)
        try:
            needed |= shards & _shard_names(parse_json(folder, path))
        except ShardCorrupt:  # damaged, or deleted meanwhile by `gc`
            with contextlib.suppress(OSError):
                data = path.read_bytes()
                needed |= {shard for shard in shards if shard.encode() in data}
    return [
        *(path for path in candidates if path.stem not in needed),
        *_temporaries(folder.root),
    ]


def delete(folder: Folder, path: Path) -> None:
    """Delete a leftover, except a temporary file that a process has locked meanwhile.

    Raises
    ------
    OSError
        If the file cannot be deleted.
    CatalogError
        If another folder has replaced the catalogue; nothing in it is deleted.
    """
    folder.check_same()
    if TEMPORARY.fullmatch(path.name) and path.parent.name in _LOCKED:
        delete_abandoned(path)
    else:
        path.unlink(missing_ok=True)


def _temporaries(root: Path) -> list[Path]:
    """Return abandoned temporary files and folders of fitted objects and the index."""
    temporaries = []
    for name in _LOCKED:
        folder = root / name
        if not folder.is_symlink():
            with contextlib.suppress(FileNotFoundError):
                temporaries += [
                    path for path in sorted(folder.iterdir()) if abandoned(path)
                ]
    return temporaries


def _shard_names(snapshot: Any) -> set[str]:
    """Return the shards that a snapshot names, without checking its other fields."""
    if not isinstance(snapshot, dict) or not isinstance(snapshot.get("shards"), list):
        raise ShardCorrupt("This is not a snapshot.")
    shard_names: set[str] = set()
    for shard in snapshot["shards"]:
        members = shard.get("members", []) if isinstance(shard, dict) else []
        for record in [shard, *(members if isinstance(members, list) else [])]:
            name = record.get("shard") if isinstance(record, dict) else None
            if not isinstance(name, str):
                raise ShardCorrupt("A shard of this snapshot has no name.")
            shard_names.add(name)
    return shard_names
