"""The small Parquet files of metadata: proven to be what was committed, and read by SQL."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from catalog.errors import ShardCorrupt, missing
from catalog.quoting import file_pattern, literal
from catalog.storage.inside_folder import check_inside
from catalog.storage.manifest import File, Manifest

_SHARD_COLUMN = {
    "runs": "pz_shard",
    "measures": "pz_shard",
    "checkpoints": "shard",
    "tensor_stats": "shard",
    "chunks": "shard",
}
"""By kind: the column of a pack that says which member a row belongs to."""


def metadata_source(
    root: Path,
    manifests: Iterable[Manifest],
    kind: str,
    *,
    origin: bool = False,
    hashed: bool = True,
) -> str:
    """Return SQL for the rows of one kind of metadata that count, united by name.

    Rows that a pack has of members which newer packs hold, or which were given up, do
    not count. Layouts (``tensors``) are the same in every file that has them.

    Parameters
    ----------
    manifests : iterable of Manifest
        Manifests of a `Snapshot`: only there packs know what supersedes them.
    origin : bool, default=False
        Add ``pz_shard``, the shard of each row, where files lack it.
    hashed : bool, default=True
        Compare the files with their hashes, not only with their sizes.

    Returns
    -------
    str
        A relation for FROM; empty if no manifest has such a file.

    Raises
    ------
    ShardCorrupt
        If a file is absent or is not the one that was committed.
    """
    home = os.path.realpath(root)  # a query's paths cannot have .. in them
    whole: list[str] = []
    parts: list[str] = []
    for manifest in manifests:
        if kind not in manifest.own:
            continue
        file = manifest.own[kind]
        check_hash(root, file) if hashed else check_size(root, file)
        path = os.path.join(home, file.path)
        column = _SHARD_COLUMN.get(kind)
        if column is None or not manifest.superseded:
            whole.append(path)
            continue
        listed = ", ".join(literal(shard) for shard in sorted(manifest.superseded))
        source = _parquet([path], origin)
        parts.append(f"FROM {source} WHERE {column} NOT IN ({listed})")
    if not parts:
        return _parquet(whole, origin) if whole else ""
    if whole:
        parts.insert(0, f"FROM {_parquet(whole, origin)}")
    return f"({' UNION ALL BY NAME '.join(parts)})"


def check_hash(root: Path, file: File) -> Path:
    """Path of a file that is proven to be the committed one.

    Raises
    ------
    ShardCorrupt
        If it is absent or is not the one that was committed.
    """
    path = check_size(root, file)
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != file.sha256:
        raise ShardCorrupt(
            f"{path} is not the file that was committed (its sha256 differs). Run "
            "'phasezoo verify', then fetch or train the shard again."
        )
    return path


def check_size(root: Path, file: File) -> Path:
    """Path of a file; `ShardCorrupt` unless it is inside, with the size it should have."""
    path, expected = root / file.path, file.bytes
    check_inside(root, path)
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise missing(path) from error
    except OSError as error:
        raise ShardCorrupt(f"{path} cannot be read: {error.strerror}.") from error
    if size != expected:
        raise ShardCorrupt(
            f"{path} has {size:,} bytes, its manifest says {expected:,}: it is "
            "truncated or altered. Run 'phasezoo verify', then fetch or train it again."
        )
    return path


def _parquet(paths: Sequence[str], origin: bool) -> str:
    """SQL for the union by name of Parquet files.

    Their paths are absolute: DuckDB takes ~ for the home folder and x: for where else a
    file is. With ``origin`` every row has ``pz_shard``: a pack has that column, and the
    files of one shard are called as it is.
    """
    listed = ", ".join(literal(file_pattern(path)) for path in paths)
    options = "union_by_name=true, hive_partitioning=false"
    plain = f"read_parquet([{listed}], {options})"
    if not origin:
        return plain
    no_pack = "SELECT NULL::VARCHAR AS pz_shard WHERE false"
    return (
        f"(SELECT * EXCLUDE (pz_file) REPLACE (coalesce(pz_shard, "
        f"parse_filename(pz_file, true)) AS pz_shard) FROM (FROM {plain[:-1]}, "
        f"filename='pz_file') UNION ALL BY NAME {no_pack}))"
    )
