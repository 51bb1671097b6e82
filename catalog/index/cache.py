"""Cache of DuckDB indexes, each built from a snapshot and never written in place.

An open writer of a DuckDB file locks out every reader, and a reader locks out writers.
Therefore an index is built under a temporary name, closed, and renamed to a name derived
from its snapshot; readers open it read-only. `models` (runs x checkpoints x newest
measures) is materialised, because joining for every query costs 6-200 times as much. In a
catalogue that is too large for that (`catalog.index.in_place`), `checkpoints` and `models`
are views over Parquet.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from pathlib import Path

import duckdb

from catalog.errors import CatalogError
from catalog.index.extend import extend
from catalog.index.in_place import too_large
from catalog.index.plain import only_tables
from catalog.index.tables import Connection, build_index, connect, filling, tables_of
from catalog.quoting import literal
from catalog.storage.folder import Folder
from catalog.storage.inside_folder import check_inside
from catalog.storage.manifest import parse_json
from catalog.storage.snapshot import Snapshot
from catalog.storage.temporaries import sweep_before, temporary_folder

VERSION = 7
"""Version of the tables of an index; indexes of other versions are rebuilt."""

INDEX = "zoo_index"
"""Name under which an index is attached."""

_sound: set[tuple[int, ...]] = set()
"""Identities of index files that this process has built, or checked for tables only."""

_COPY = "pz_copy"
_NAME = re.compile(rf"index-v{VERSION}-[0-9a-f]{{16}}\.duckdb")


def index_path(folder: Folder, snapshot: Snapshot) -> Path:
    """Return the path of the index of a snapshot."""
    return folder.cache / f"index-v{VERSION}-{snapshot.id}.duckdb"


def ensure_index(
    folder: Folder, snapshot: Snapshot, connection: Connection, *, newest: bool = True
) -> Path | None:
    """Build the index of a snapshot unless it exists, and return its path.

    If an index of an earlier state exists and only new runs or measures were committed
    since, that index is copied and extended.

    Parameters
    ----------
    folder : Folder
        Folder of the catalogue.
    snapshot : Snapshot
        Snapshot to index.
    connection : duckdb.DuckDBPyConnection
        Connection to an in-memory database, to which the file of the index is attached. If
        the index to extend is damaged, the connection may not be usable afterwards; see
        `usable`.
    newest : bool, default=True
        Whether the snapshot is the newest; its index then replaces the indexes of older
        snapshots.

    Returns
    -------
    Path, optional
        None if the index cannot be stored.
    """
    path = index_path(folder, snapshot)
    check_inside(folder.root, path)
    if path.exists():
        return path
    try:
        folder.cache.mkdir(exist_ok=True)
        sweep_before(path)
        with temporary_folder(path) as temporary_parent:
            temporary = temporary_parent / path.name
            old, known_shards = _latest(folder)
            if old is None or not _extended(
                temporary, old, known_shards, folder, snapshot, connection
            ):
                temporary.unlink(missing_ok=True)
                builder = connection if usable(connection) else connect()
                with filling(builder, temporary, "pz_building") as target:
                    large = too_large(snapshot.manifests)
                    build_index(target, folder.root, snapshot.manifests, in_place=large)
            os.replace(temporary, path)
        _sound.add(_identity(path))
        if not newest:
            return path
        names = {"index": path.name, "shards": sorted(snapshot.shards)}
        folder.remember(folder.cache / "latest.json", json.dumps(names).encode())
        _forget(folder, keep={path, old})
    except CatalogError:
        raise
    except (OSError, duckdb.Error):
        return None  # the cache cannot be written, or was just deleted
    return path


def attach(connection: Connection, path: Path, name: str = INDEX) -> bool:
    """Attach an index read-only, and return whether that succeeded.

    An index may be missing, because another process has built a newer one and deleted it.
    A damaged index is deleted. An index that holds anything but tables counts as damaged:
    others may have written it, and its views or macros would run when it is read.
    """
    # Absolute, as DuckDB reads text before a colon as the kind of database.
    address = literal(str(path.absolute()))
    # Write-ahead logs, which our own indexes never have.
    logs = list(path.parent.glob(path.name + ".*"))
    try:
        if not logs:
            identity = _identity(path)
            connection.execute(f"ATTACH {address} AS {name} (READ_ONLY, TYPE duckdb)")
            if identity in _sound or only_tables(connection, name):
                _sound.add(identity)
                return True
            connection.execute(f"DETACH {name}")
    except (OSError, duckdb.Error):
        with contextlib.suppress(duckdb.Error):
            connection.execute(f"DETACH DATABASE IF EXISTS {name}")
    for file in (path, *logs):
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
    return False


def _identity(path: Path) -> tuple[int, ...]:
    """Return an identity of a file that changes when it is written or replaced."""
    info = os.stat(path)
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def usable(connection: Connection) -> bool:
    """Return whether a connection works, which it does not after an internal error."""
    try:
        connection.execute("SELECT 1").fetchall()
    except duckdb.Error:
        return False
    return True


def _extended(
    temporary: Path,
    old: Path,
    known: set[str],
    folder: Folder,
    snapshot: Snapshot,
    connection: Connection,
) -> bool:
    """Copy an index and add new shards; return False if it must be built from scratch.

    An index must be built from scratch if the old one is missing or damaged, or has other
    shards than ``known`` or shards that are not in the snapshot.
    """
    if not known <= snapshot.shards.keys():
        return False
    added = [m for m in snapshot.manifests if m.shard not in known]
    try:
        sound = _identity(old) in _sound
        shutil.copyfile(old, temporary)
        if sound:
            _sound.add(_identity(temporary))
        if not attach(connection, temporary, _COPY):
            old.unlink(missing_ok=True)
            return False
        connection.execute(f"DETACH {_COPY}")
        with filling(connection, temporary, "pz_building") as target:
            if {
                row[0] for row in target.execute("SELECT shard FROM shards").fetchall()
            } != known:
                return False
            if too_large(snapshot.manifests) == ("models" in tables_of(target)):
                return False
            return extend(target, folder, added)
    except (FileNotFoundError, duckdb.Error):
        return False


def _latest(folder: Folder) -> tuple[Path | None, set[str]]:
    """Return the last built index and its shards; None without a readable record."""
    try:
        value = parse_json(folder, folder.cache / "latest.json")
        if not _NAME.fullmatch(value["index"]):
            return None, set()
        path = folder.cache / value["index"]
        shards = set(value["shards"])
        check_inside(folder.root, path)
    except (OSError, ValueError, KeyError, TypeError):
        return None, set()
    return (path, shards) if path.is_file() else (None, set())


def _forget(folder: Folder, keep: set[Path | None]) -> None:
    """Delete superseded indexes; readers that have an index open can still use it."""
    for path in folder.cache.glob("index-*.duckdb"):
        if path not in keep:
            with contextlib.suppress(OSError):
                path.unlink()
