"""Finding every flipped bit, and sweeping what dead writers left behind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from catalog.errors import CatalogError
from catalog.folder import Folder
from catalog.inside import check_inside
from catalog.manifest import File, Manifest, parse_json, read_manifest
from catalog.snapshot import Snapshot, read_head


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    path : str
        File, relative to the catalogue.
    shard : str
        Shard, if the file belongs to one.
    detail : str
        What is wrong, and where in the file: row and tensor for weights.
    """

    path: str
    shard: str
    detail: str


@dataclass
class Verification:
    """What `verify` found.

    Attributes
    ----------
    shards, files, bytes : int
        What was checked.
    problems : list of Problem
        Empty if every committed byte is in place.
    leftovers : list of str
        Files of dead writers; no reader ever saw them.
    swept : bool
        Whether the leftovers were deleted.
    """

    shards: int = 0
    files: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    swept: bool = False


def verify(
    root: Path,
    *,
    sweep: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Check every committed file against its recorded hash.

    Parameters
    ----------
    root : Path
        The catalogue's folder.
    sweep : bool, default=True
        Delete leftovers of writers that no longer run. Files of living writers are
        left alone; so is everything while HEAD, its snapshot or a manifest is damaged.
    progress : callable, optional
        Called with bytes done and bytes in total.

    Returns
    -------
    Verification
    """
    folder = Folder(root)
    result = Verification()
    manifests = _manifests(folder, result)
    doubtful = bool(result.problems)  # what is committed is not certain: delete nothing
    records = {m.shard: m for m in manifests}
    jobs = [
        (m, records[m.pack or m.shard], kind, file)
        for m in manifests
        for kind, file in m.own.items()
    ]
    total = sum(job[-1].bytes for job in jobs)
    with ThreadPoolExecutor(2, "phasezoo-verify") as pool:
        checked = pool.map(lambda job: list(_check(root, *job)), jobs)
        for (*_, file), problems in zip(jobs, checked, strict=True):
            result.files += 1
            result.bytes += file.bytes
            result.problems += problems
            progress(result.bytes, total)
    result.shards = len(manifests)
    _sweep(folder, manifests, result, sweep and not doubtful)
    return result


def _manifests(folder: Folder, result: Verification) -> list[Manifest]:
    def wrong(path: Path, shard: str, detail: str) -> None:
        inside = str(path.relative_to(folder.root))
        result.problems.append(Problem(inside, shard, detail))

    try:
        head = read_head(folder)
    except CatalogError as error:
        wrong(folder.head, "", str(error))
        head = Snapshot(0, ())
    listed = []
    if head.version:
        listed = parse_json(folder, folder.snapshot(head.version))["shards"]
    recorded = {value["shard"]: value for value in listed}
    found: dict[str, Manifest] = {}
    try:
        names = sorted(folder.manifest_names())
    except CatalogError as error:
        wrong(folder.root / "manifests", "", str(error))
        names = []
    for shard in names:
        try:
            found[shard] = read_manifest(folder, shard)
        except CatalogError as error:
            wrong(folder.manifest(shard), shard, str(error))
    for manifest in head.manifests:
        shard, path = manifest.shard, folder.manifest(manifest.shard)
        if manifest.pack:
            continue
        if shard not in found:
            if not path.exists():
                version = f"snapshot {head.version}"
                wrong(path, shard, f"manifest is missing; {version} still names it")
            found[shard] = manifest
        elif parse_json(folder, path) != recorded[shard]:
            detail = f"manifest differs from the one in snapshot {head.version}"
            wrong(path, shard, detail)
    return list(Snapshot.of(head.version, found.values(), head.dropped).manifests)


def _check(
    root: Path, manifest: Manifest, holder: Manifest, kind: str, file: File
) -> Iterator[Problem]:
    path = root / file.path

    def wrong(detail: str) -> Problem:
        return Problem(file.path, manifest.shard, detail)

    try:
        check_inside(root, path)
        size = path.stat().st_size
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except CatalogError as error:
        yield wrong(str(error))
        return
    except OSError as error:
        yield wrong(f"cannot be read: {error.strerror}")
        return
    if digest == file.sha256 and size == file.bytes:
        return
    if size != file.bytes:
        yield wrong(f"{size:,} bytes, expected {file.bytes:,}")
    else:
        yield wrong(f"sha256 is {digest[:12]}..., expected {file.sha256[:12]}...")
    if kind == "weights":
        yield from (wrong(detail) for detail in _locate(root, manifest, holder, size))


def _locate(root: Path, manifest: Manifest, holder: Manifest, size: int) -> Iterator[str]:
    """Rows and tensors of a damaged weight file that are not what was committed.

    ``holder`` is the shard itself, or the pack that holds its metadata.
    """
    own = [("shard", "=", manifest.shard)]
    try:
        tables = {
            kind: pq.read_table(
                root / holder.files[kind].path, partitioning=None, filters=own
            )
            for kind in ("chunks", "tensor_stats")
        }
    except (OSError, pa.ArrowException, LookupError) as error:
        yield f"rows cannot be told: the shard's metadata cannot be read ({error})"
        return
    hashes = {
        (row["tensor"], row["row"]): row["blake3"]
        for row in tables["tensor_stats"].select(["tensor", "row", "blake3"]).to_pylist()
    }
    bad, rows = 0, manifest.files["weights"].rows
    data = np.memmap(root / manifest.files["weights"].path, np.uint8, "r") if size else b""
    for chunk in tables["chunks"].to_pylist():
        numbers = [chunk[name] for name in ("first_row", "rows", "offset", "row_bytes")]
        sound = all(isinstance(n, int) and n >= 0 for n in numbers)
        if not sound or chunk["rows"] > rows:
            yield f"rows cannot be told: chunks/ says {numbers} for {chunk['tensor']!r}"
            return
        for i in range(chunk["rows"]):
            row, start = (
                chunk["first_row"] + i,
                chunk["offset"] + i * chunk["row_bytes"],
            )
            payload = bytes(data[start : start + chunk["row_bytes"]])
            if blake3(payload).digest() != hashes.get((chunk["tensor"], row)):
                bad += 1
                if bad <= 20:
                    yield f"row {row}, tensor {chunk['tensor']!r}: not what was committed"
    if bad > 20:
        yield f"and {bad - 20:,} more tensors"
    if not bad:
        yield "every tensor is intact: the damage is in the footer or a page header"


def _sweep(
    folder: Folder, manifests: list[Manifest], result: Verification, sweep: bool
) -> None:
    if not sweep:
        found = folder.leftovers({m.shard for m in manifests})
        result.leftovers = [str(p.relative_to(folder.root)) for p in found]
        return
    try:
        with folder.lock():
            found = folder.leftovers({m.shard for m in manifests})
            result.leftovers = [str(p.relative_to(folder.root)) for p in found]
            for path in found:
                path.unlink(missing_ok=True)
            result.swept = True
    except OSError as error:
        detail = f"leftovers cannot be swept: {error.strerror}"
        if result.leftovers:
            result.problems.append(Problem("", "", detail))
