"""Compaction of the small metadata files of many shards into one file of each kind.

Weights stay where they are. Every shard keeps its name, its place in the order of
commits and its hashes, because the pack holds the commit records of its members. `gc`
deletes the files that the pack supersedes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb

from catalog.errors import ShardCorrupt
from catalog.quoting import literal
from catalog.storage.folder import Folder
from catalog.storage.inside_folder import folder_inside
from catalog.storage.manifest import CONTENTS, Manifest
from catalog.storage.metadata import metadata_source
from catalog.storage.shard import read_footer
from catalog.storage.snapshot import newest_snapshot
from catalog.storage.temporaries import temporary_folder
from catalog.writer import Writer

LARGEST = 256 << 20
"""Size in bytes from which a pack is not joined with others."""

MEMORY = "1GB"
"""Memory limit of DuckDB while it joins files; it spills the rest to cache/."""


@dataclass(frozen=True)
class Compaction:
    """Result of `compact`.

    Attributes
    ----------
    shards : int
        Number of shards whose metadata is in the new pack; 0 if there was nothing to do.
    files_before, files_after : int
        Number of metadata files of these shards before and after.
    pack : str
        Name of the new pack, or empty.
    """

    shards: int = 0
    files_before: int = 0
    files_after: int = 0
    pack: str = ""


def compact(root: Path) -> Compaction:
    """Join the metadata of all shards that are not in a large pack yet.

    Raises
    ------
    ShardCorrupt
        If a metadata file is not the one that was committed; nothing changes then.
    CatalogError
        If the folder cannot be written.
    """
    folder = Folder(root)
    folder.pin()
    with folder.writing(), folder.lock("compact"):
        return pack(folder)


def pack(folder: Folder) -> Compaction:
    """Do the work of `compact` for a caller that holds the lock named "compact"."""
    snapshot = newest_snapshot(folder)
    sources = [m for m in snapshot.manifests if not m.pack and _joinable(m)]
    joined = {source.shard for source in sources}
    members = [
        m
        for m in snapshot.manifests
        if m.content != "pack" and (m.pack or m.shard) in joined
    ]
    if not members or (len(sources) < 2 and not any(m.superseded for m in sources)):
        return Compaction()
    files = sum(len(source.own.keys() - {"weights"}) for source in sources)
    manifest = write_pack(folder, sources, members)
    return Compaction(len(members), files, len(manifest.files), manifest.shard)


def write_pack(
    folder: Folder, sources: Sequence[Manifest], members: Sequence[Manifest]
) -> Manifest:
    """Write the metadata of shards to one file of each kind and commit it.

    Parameters
    ----------
    sources : sequence of Manifest
        Shards and packs whose files are read; rows of what they call superseded are not.
    members : sequence of Manifest
        Shards that the rows belong to.
    """
    write = {
        kind: partial(_write, folder.root, source, kind)
        for kind in sorted(CONTENTS["pack"])
        if (source := _source(folder.root, sources, kind))
    }
    with Writer(folder.root, spare=folder.spare) as writer:
        return writer.commit_pack(write, members)


def names(pack: Manifest) -> list[str]:
    """Return the names of the shards whose metadata a pack holds."""
    return [member.shard for member in pack.members]


def _joinable(manifest: Manifest) -> bool:
    """Return whether a shard, or a small or partly superseded pack, may be joined."""
    if manifest.content != "pack":
        return manifest.content != "tombstones"
    small = sum(file.bytes for file in manifest.files.values()) < LARGEST
    return small or bool(manifest.superseded)


def _source(root: Path, sources: Sequence[Manifest], kind: str) -> str:
    """Return SQL for the rows of one kind that the new pack holds."""
    origin = kind in ("runs", "measures")
    source = metadata_source(root, sources, kind, origin=origin)
    if kind == "tensors" and source:
        return f"SELECT DISTINCT * FROM {source} ORDER BY arch_id, position"
    return source and f"FROM {source}"


def _write(root: Path, query: str, kind: str, target: Path) -> int:
    """Write one kind of metadata, and return its number of rows."""
    while True:
        with temporary_folder(folder_inside(root, "cache") / "join") as spill:
            try:
                _join(query, target, spill)
                break
            except duckdb.Error as error:
                if not spill.exists():
                    continue  # cache/ was deleted, which is allowed at any time
                for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    if os.strerror(code) in str(error):
                        raise OSError(code, os.strerror(code)) from error
                raise ShardCorrupt(
                    f"The {kind} of several shards cannot be joined: {error}. Run "
                    "'phasezoo verify' to find the file."
                ) from error
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return int(read_footer(target).num_rows)


def _join(query: str, target: Path, spill: Path) -> None:
    with duckdb.connect(config={"memory_limit": MEMORY}) as connection:
        connection.execute(f"SET temp_directory = {literal(str(spill.absolute()))}")
        connection.execute(
            f"COPY ({query}) TO {literal(str(target.absolute()))} "
            "(FORMAT parquet, COMPRESSION zstd)"
        )
