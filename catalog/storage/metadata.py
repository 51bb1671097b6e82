"""Small Parquet files of metadata: checks against commit records, and SQL to read them."""

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
"""Column of a pack that names the member a row belongs to, by kind."""


def metadata_source(
    root: Path,
    manifests: Iterable[Manifest],
    kind: str,
    *,
    origin: bool = False,
    hashed: bool = True,
) -> str:
    """Return SQL for the valid rows of one kind of metadata, united by name.

    Rows of a pack are not valid if a newer pack holds their member, or if the member was
    dropped. Layouts (``tensors``) are the same in every file that has them.

    Parameters
    ----------
    root : Path
        Folder of the catalogue.
    manifests : iterable of Manifest
        Manifests of a `Snapshot`; elsewhere ``superseded`` of packs is not set.
    kind : str
        Kind of metadata, such as ``runs``.
    origin : bool, default=False
        Whether to add ``pz_shard``, the shard of each row, where files lack it.
    hashed : bool, default=True
        Whether to compare the files with their hashes, not only with their sizes.

    Returns
    -------
    str
        Relation for FROM; empty if no manifest has such a file.

    Raises
    ------
    ShardCorrupt
        If a file is missing or is not the one that was committed.
    """
    real_root = os.path.realpath(root)  # paths in queries must not contain ..
    complete: list[str] = []
    parts: list[str] = []
    for manifest in manifests:
        if kind not in manifest.own:
            continue
        file = manifest.own[kind]
        check_hash(root, file) if hashed else check_size(root, file)
        path = os.path.join(real_root, file.path)
        column = _SHARD_COLUMN.get(kind)
        if column is None or not manifest.superseded:
            complete.append(path)
            continue
        listed = ", ".join(literal(shard) for shard in sorted(manifest.superseded))
        source = _parquet([path], origin)
        parts.append(f"FROM {source} WHERE {column} NOT IN ({listed})")
    if not parts:
        return _parquet(complete, origin) if complete else ""
    if complete:
        parts.insert(0, f"FROM {_parquet(complete, origin)}")
    return f"({' UNION ALL BY NAME '.join(parts)})"


def check_hash(root: Path, file: File) -> Path:
    """Return the path of a file after a check of its size and hash.

    Raises
    ------
    ShardCorrupt
        If the file is missing or is not the one that was committed.
    """
    path = check_size(root, file)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        raise ShardCorrupt(
            f"{path} is not the file that was committed (its sha256 differs). Run "
            "'phasezoo verify', then fetch or train the shard again."
        )
    return path


def check_size(root: Path, file: File) -> Path:
    """Return the path of a file after a check of its location and size.

    Raises
    ------
    ShardCorrupt
        If the file is missing, leads outside, or has another size than committed.
    """
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
            f"{path} has {size:,} bytes, but its manifest says {expected:,}: it is "
            "truncated or altered. Run 'phasezoo verify', then fetch or train it again."
        )
    return path


def is_whole(root: Path, file: File) -> bool:
    """Report if a file is where it belongs, with the size that was committed."""
    try:
        check_size(root, file)
    except ShardCorrupt:
        return False
    return True


def _parquet(paths: Sequence[str], origin: bool) -> str:
    """Return SQL for the union by name of Parquet files.

    The paths must be absolute, because DuckDB reads ~ as the home folder and x: as the
    kind of a remote address. With ``origin`` every row has ``pz_shard``: packs have this
    column, and the other files are named after their shard.
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
