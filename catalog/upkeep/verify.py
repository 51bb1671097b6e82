"""Verification of all committed bytes, and deletion of leftovers of dead writers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from catalog.errors import CatalogError
from catalog.storage.folder import Folder
from catalog.storage.inside_folder import check_inside
from catalog.storage.leftovers import delete, find_leftovers
from catalog.storage.manifest import File, Manifest, parse_json, read_manifest
from catalog.storage.snapshot import Snapshot, read_head, read_unnamed
from catalog.upkeep.damage import wrong_tensors
from catalog.upkeep.fitted_files import check_digest, fitted_files

_BLOCK = 16 << 20
"""Bytes to hash at a time; between blocks a thread waits for the interpreter lock."""


@dataclass(frozen=True)
class Problem:
    """Problem that `verify` found.

    Attributes
    ----------
    path : str
        Path of the file relative to the catalogue.
    shard : str
        Name of the shard that the file belongs to, or empty.
    detail : str
        Description of the problem, with row and tensor for weights.
    """

    path: str
    shard: str
    detail: str


@dataclass
class Verification:
    """Result of `verify`.

    Attributes
    ----------
    shards, files, bytes : int
        Number of shards, files and bytes that were checked.
    problems : list of Problem
        Problems; empty if all committed files and fitted objects are intact.
    leftovers : list of str
        Files of dead writers, which no reader ever saw.
    swept : bool
        Whether the leftovers were deleted.
    unchecked : list of str
        Files of fitted objects without a digest, written by earlier versions or by others.
    """

    shards: int = 0
    files: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    swept: bool = False
    unchecked: list[str] = field(default_factory=list)


def verify(
    root: Path,
    *,
    sweep: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Check every committed file and every fitted object against its hash.

    Parameters
    ----------
    root : Path
        The catalogue's folder.
    sweep : bool, default=True
        Whether to delete leftovers of writers that no longer run. Files of live writers
        are never deleted, and nothing is while HEAD, a snapshot or a manifest is damaged.
    progress : callable, optional
        Function that is called with the bytes checked so far and the total.

    Returns
    -------
    Verification
    """
    folder = Folder(root)
    folder.pin()
    result = Verification()
    manifests = _manifests(folder, result)
    doubtful = bool(result.problems)  # records are damaged, so delete nothing
    jobs = [(m, file) for m in manifests for file in m.own.values()]

    def wrong(path: Path, detail: str) -> None:
        result.problems.append(Problem(str(path.relative_to(root)), "", detail))

    fitted = list(fitted_files(root, wrong))
    total = sum(file.bytes for _, file in jobs) + sum(size for _, size in fitted)
    records = {m.shard: m for m in manifests}
    with ThreadPoolExecutor(2, "phasezoo-verify") as pool:
        checks = []
        for manifest, file in jobs:
            # Run both hashes at the same time, so that a file is read from disk once.
            sha256 = pool.submit(_sha256, root, root / file.path)
            tensors = None
            if file is manifest.own.get("weights"):
                holder = records[manifest.pack or manifest.shard]
                tensors = pool.submit(_tensors, root, manifest, holder)
            checks.append((manifest, file, sha256, tensors))
        for manifest, file, sha256, tensors in checks:
            details = _details(file, sha256.result(), tensors.result() if tensors else None)
            result.problems += [Problem(file.path, manifest.shard, d) for d in details]
            result.files += 1
            result.bytes += file.bytes
            progress(result.bytes, total)
    for path, size in fitted:
        if check_digest(path, wrong):
            result.files += 1
            result.bytes += size
        else:
            result.unchecked.append(str(path.relative_to(root)))
            total -= size
        progress(result.bytes, total)
    result.shards = len(manifests)
    _sweep(folder, manifests, result, sweep, doubtful)
    return result


def _manifests(folder: Folder, result: Verification) -> list[Manifest]:
    """Return the manifests of all shards, and report damaged records."""

    def wrong(path: Path, shard: str, detail: str) -> None:
        inside = str(path.relative_to(folder.root))
        result.problems.append(Problem(inside, shard, detail))

    try:
        head = read_head(folder)
    except CatalogError as error:
        wrong(folder.head, "", str(error))
        head = Snapshot(0, ())
    for older in sorted(v for v in folder.versions() if v < head.version):
        try:
            read_unnamed(folder, older)
        except CatalogError as error:
            wrong(folder.snapshot(older), "", f"{error} --repair deletes this version.")
    listed = []
    if head.version:
        listed = parse_json(folder, folder.snapshot(head.version))["shards"]
    recorded = {value["shard"]: value for value in listed}
    records: dict[str, Manifest] = {}
    try:
        groups, names = folder.group_names(), sorted(folder.manifest_names())
    except CatalogError as error:
        wrong(folder.root / "manifests", "", str(error))
        groups, names = set(), []
    for shard in names:
        try:
            manifest = read_manifest(folder, shard)
            if shard in head.shards or manifest.whole(groups):
                records[shard] = manifest
        except CatalogError as error:
            wrong(folder.manifest(shard), shard, str(error))
    for manifest in head.manifests:
        shard, path = manifest.shard, folder.manifest(manifest.shard)
        if manifest.pack:
            continue
        if shard not in records:
            if not path.exists():
                version = f"snapshot {head.version}"
                wrong(path, shard, f"manifest is missing; {version} still names it")
            records[shard] = manifest
        elif parse_json(folder, path) != recorded[shard]:
            detail = f"manifest differs from the one in snapshot {head.version}"
            wrong(path, shard, detail)
    return list(Snapshot.of(head.version, records.values(), head.dropped).manifests)


def _sha256(root: Path, path: Path) -> tuple[int, str] | str:
    """Return size and digest of a file, or the reason why it cannot be read."""
    try:
        check_inside(root, path)
        with path.open("rb", buffering=0) as file:
            block = bytearray(min(_BLOCK, os.fstat(file.fileno()).st_size + 1))
            digest, size = hashlib.sha256(), 0
            while count := file.readinto(block):
                digest.update(memoryview(block)[:count])
                size += count
            return size, digest.hexdigest()
    except CatalogError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _tensors(root: Path, manifest: Manifest, holder: Manifest) -> list[str] | None:
    """Return the problems of single tensors; None if the file cannot be read."""
    try:
        return wrong_tensors(root, manifest, holder)
    except OSError:
        return None


def _details(
    file: File, content: tuple[int, str] | str, tensors: list[str] | None
) -> Iterator[str]:
    if isinstance(content, str):
        yield content
        return
    size, digest = content
    intact = (size, digest) == (file.bytes, file.sha256)
    if size != file.bytes:
        yield f"{size:,} bytes, expected {file.bytes:,}"
    elif not intact:
        yield f"sha256 is {digest[:12]}..., expected {file.sha256[:12]}..."
    yield from tensors or []
    if tensors == [] and not intact:
        yield "every tensor is intact: the damage is in the footer or a page header"


def _sweep(
    folder: Folder,
    manifests: list[Manifest],
    result: Verification,
    sweep: bool,
    doubtful: bool,
) -> None:
    committed = {m.shard for m in manifests}
    if doubtful or not sweep:
        paths = find_leftovers(folder, committed, doubtful=doubtful)
        result.leftovers = [str(p.relative_to(folder.root)) for p in paths]
        return
    try:
        with folder.lock():
            paths = find_leftovers(folder, committed)
            result.leftovers = [str(p.relative_to(folder.root)) for p in paths]
            for path in paths:
                delete(folder, path)
            result.swept = True
    except OSError as error:
        detail = f"leftovers cannot be swept: {error.strerror}"
        if result.leftovers:
            result.problems.append(Problem("", "", detail))
