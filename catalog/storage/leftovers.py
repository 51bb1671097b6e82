"""Leftovers of killed processes: files that no commit names and no live writer owns."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError, ShardCorrupt
from catalog.storage.card_files import CARD_FOLDER, unnamed
from catalog.storage.folder import KINDS, SHARD_NAME, Folder, regular
from catalog.storage.manifest import parse_json
from catalog.storage.snapshot import cut_short, read_head
from catalog.storage.temporaries import TEMPORARY, abandoned, delete_abandoned

FITTED = ("generators", "probes")
"""Folders of fitted objects, which no commit names."""

UNCLAIMED = 86_400.0
"""Seconds before a file that no commit record and no writer claims is a leftover."""

_SHARDS = ("weights", *KINDS)
"""Folders of the files of shards."""

_FOLDERS = (*_SHARDS, "manifests", "snapshots", "writers", "origins", CARD_FOLDER)

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
    candidates = _unnamed(folder, set(committed), cut, dropped)
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


def _unnamed(
    folder: Folder, committed: set[str], cut: Collection[str], dropped: Collection[str]
) -> list[Path]:
    """Return the files that no manifest names and no live writer owns.

    Files are listed before writers, so a writer that starts in between owns none of the
    listed files.

    A file of an unclaimed shard may be in the middle of a copy by a program that holds no
    lock. If no writer marks the file and its shard was not dropped, it counts as a leftover
    only after `UNCLAIMED` seconds (a day), and never in a catalogue without commit records.

    Parameters
    ----------
    folder : Folder
        Folder of the catalogue.
    committed : set of str
        Shards that exist.
    cut : collection of str
        Shards of incomplete commits; their files and manifests are leftovers too.
    dropped : collection of str
        Shards that were given up.
    """
    records = {folder.manifest(shard) for shard in cut}
    lost = set(cut) - committed  # packs hold the data of the other cut shards
    files = [
        path
        for path in _files(folder.root)
        if regular(path) and (_swept(path.relative_to(folder.root)) or path in records)
    ]
    files += unnamed(folder.root)
    marked = {path.stem for path in (folder.root / "writers").glob("*.writer")}
    living = folder.living_writers()
    recorded = any(True for _ in (folder.root / "manifests").glob("*.json"))
    orphans = []
    for path in files:
        writer = re.search(r"([0-9a-f]{12})(?:-[0-9]{6})?\.", path.name)
        owner = writer[1] if writer else None
        if owner in living or not path.exists():
            continue
        shard = SHARD_NAME.match(path.name)  # None for temporary files
        has_record = shard and (shard[0] in committed or folder.manifest(shard[0]).exists())
        if shard and has_record and shard[0] not in lost and path not in records:
            continue
        claimed = owner in marked or path in records or (shard and shard[0] in dropped)
        if shard and not claimed and (not recorded or _age(path) < UNCLAIMED):
            continue
        orphans.append(path)
    return sorted(orphans)


def _age(path: Path) -> float:
    """Return the seconds since a file was written or renamed; 0 if it is gone."""
    try:
        return time.time() - path.stat().st_ctime
    except FileNotFoundError:
        return 0.0


def _files(root: Path) -> Iterator[Path]:
    """Yield all files; a folder that is deleted during the listing yields none."""
    for folder, _, names in os.walk(root):
        yield from (Path(folder, name) for name in names)


def _swept(path: Path) -> bool:
    """Return whether a file is of a kind that may be swept, by its path below the root."""
    if path.name.startswith(".") and path.suffix == ".tmp":
        return len(path.parts) == 1 or path.parts[0] in _FOLDERS
    if path.suffix == ".writer":
        return path.parts[0] == "writers"
    is_shard = SHARD_NAME.fullmatch(path.stem) and path.suffix == ".parquet"
    return bool(is_shard) and path.parts[0] in _SHARDS


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
