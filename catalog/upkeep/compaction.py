"""Compaction: the small metadata files of many shards become one file of each kind.

Weights stay where they are. Every shard keeps its name, its place in the order of
commits and its hashes: the pack carries the commit records of its members. What the
pack supersedes is deleted by `gc`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb

from catalog.errors import ShardCorrupt
from catalog.folder import Folder
from catalog.manifest import CONTENTS, Manifest
from catalog.metadata import metadata_paths, parquet_source, with_origin
from catalog.quoting import literal
from catalog.snapshot import refresh
from catalog.writer import Writer

LARGEST = 256 << 20
"""Bytes of metadata above which a pack is left as it is."""

MEMORY = "1GB"
"""What DuckDB may use while it joins files; more is spilled to cache/."""


@dataclass(frozen=True)
class Compaction:
    """What `compact` did.

    Attributes
    ----------
    shards : int
        Shards whose metadata is in the new pack; 0 if there was nothing to do.
    files_before, files_after : int
        Metadata files of those shards.
    pack : str
        Name of the new pack, or empty.
    """

    shards: int = 0
    files_before: int = 0
    files_after: int = 0
    pack: str = ""


def compact(root: Path, *, without: Collection[str] = ()) -> Compaction:
    """Pack the metadata of all shards that are not in a large pack yet.

    Parameters
    ----------
    without : collection of str, optional
        Shards to leave out; packs that hold one are written again without it.

    Raises
    ------
    ShardCorrupt
        If a metadata file is not what was committed; nothing changes.
    CatalogError
        If the folder cannot be written.
    """
    folder = Folder(root)
    with folder.writing(), folder.lock("compact"):
        return pack(folder, without)


def pack(folder: Folder, without: Collection[str] = ()) -> Compaction:
    """`compact` for a caller that holds the lock called compact."""
    snapshot = refresh(folder)
    sources = [m for m in snapshot.manifests if not m.pack and _loose(m, without)]
    members = [m for s in sources for m in (s.members or (s,)) if m.shard not in without]
    files = sum(len(source.own.keys() - {"weights"}) for source in sources)
    again = any(
        source.content == "pack" and set(without) & {*names(source)} for source in sources
    )
    if not members or (len(sources) < 2 and not again):
        return Compaction()
    write = {
        kind: partial(_write, folder.root, paths, kind, [m.shard for m in members])
        for kind in sorted(CONTENTS["pack"])
        if (paths := metadata_paths(folder.root, sources, kind))
    }
    ordered = sorted(members, key=lambda m: m.order)
    with Writer(folder.root) as writer:
        manifest = writer.commit_pack(write, ordered)
    return Compaction(len(members), files, len(write), manifest.shard)


def names(pack: Manifest) -> list[str]:
    """Shards whose metadata a pack holds."""
    return [member.shard for member in pack.members]


def _loose(manifest: Manifest, without: Collection[str]) -> bool:
    if manifest.content == "tombstones":
        return False
    if manifest.content != "pack":
        return manifest.shard not in without
    small = sum(file.bytes for file in manifest.files.values()) < LARGEST
    return small or bool(set(without) & {*names(manifest)})


def _write(
    root: Path, paths: Sequence[str], kind: str, shards: Sequence[str], target: Path
) -> int:
    """Write one kind of metadata of the given shards; the number of its rows."""
    source = parquet_source(paths)
    column = "shard"
    if kind in ("runs", "measures"):
        source, column = with_origin(paths), "pz_shard"
    listed = ", ".join(map(literal, shards))
    query = f"FROM {source} WHERE {column} IN ({listed})"
    if kind == "tensors":
        query = f"SELECT DISTINCT * FROM {source} ORDER BY arch_id, position"
    spill, written = (literal(str(p.absolute())) for p in (root / "cache", target))
    try:
        with duckdb.connect(config={"memory_limit": MEMORY}) as connection:
            connection.execute(f"SET temp_directory = {spill}")
            connection.execute(
                f"COPY ({query}) TO {written} (FORMAT parquet, COMPRESSION zstd)"
            )
            rows = connection.execute(
                f"SELECT count(*) FROM {parquet_source([str(target)])}"
            ).fetchall()
    except duckdb.Error as error:
        raise ShardCorrupt(
            f"The {kind} of {len(shards)} shards cannot be joined: {error}. Run "
            "'phasezoo verify' to find the file."
        ) from error
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return int(rows[0][0])
