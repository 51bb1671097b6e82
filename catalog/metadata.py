"""The small Parquet files of metadata: proven to be what was committed, and read by SQL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from catalog.errors import ShardCorrupt, missing
from catalog.inside import check_inside
from catalog.manifest import File, Manifest
from catalog.quoting import file_pattern, literal


def metadata_paths(root: Path, manifests: Iterable[Manifest], kind: str) -> list[str]:
    """Metadata files of one kind, each proven to be what its manifest says.

    Raises
    ------
    ShardCorrupt
        If a file is absent or is not the one that was committed.
    """
    paths = []
    for manifest in manifests:
        if kind not in manifest.own:
            continue
        file = manifest.own[kind]
        path = check_size(root, file)
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if digest != file.sha256:
            raise ShardCorrupt(
                f"{path} is not the file that was committed (its sha256 differs). Run "
                "'phasezoo verify', then fetch or train the shard again."
            )
        paths.append(str(path))
    return paths


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


def parquet_source(paths: Sequence[str]) -> str:
    """SQL for the union by name of metadata files."""
    # Absolute, as DuckDB takes ~ for the home folder and x: for where else a file is.
    absolute = [str(Path(path).absolute()) for path in paths]
    listed = ", ".join(literal(file_pattern(path)) for path in absolute)
    return f"read_parquet([{listed}], union_by_name=true, hive_partitioning=false)"


def with_origin(paths: Sequence[str]) -> str:
    """SQL for the union by name of metadata files, with ``pz_shard`` for every row.

    A pack has that column; the files of one shard are called as it is.
    """
    listed = parquet_source(paths)[:-1]
    no_pack = "SELECT NULL::VARCHAR AS pz_shard WHERE false"
    return (
        f"(SELECT * EXCLUDE (pz_file) REPLACE (coalesce(pz_shard, "
        f"parse_filename(pz_file, true)) AS pz_shard) FROM (FROM {listed}, "
        f"filename='pz_file') UNION ALL BY NAME {no_pack}))"
    )
