"""The DuckDB index: a cache built from a snapshot, never written in place.

An open writer of a DuckDB file locks every reader out, and the other way round. So an
index is built under a temporary name, closed, and renamed to a name derived from its
snapshot; readers open it read-only. `models` (runs x checkpoints x newest measures) is
materialised, because the join on the fly costs 6-200 times as much; in a catalogue that
is too large for that (`catalog.index.in_place`), both big tables are views over Parquet.
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

VERSION = 6
"""Version of the index's own tables: another one is rebuilt."""

INDEX = "zoo_index"
"""Name of an index that is attached."""

_sound: set[tuple[int, ...]] = set()
"""Files that hold only tables: this process has checked or built them."""

_COPY = "pz_copy"
_NAME = re.compile(rf"index-v{VERSION}-[0-9a-f]{{16}}\.duckdb")


def index_path(folder: Folder, snapshot: Snapshot) -> Path:
    """Where the index of a snapshot stands."""
    return folder.cache / f"index-v{VERSION}-{snapshot.id}.duckdb"


def ensure_index(
    folder: Folder, snapshot: Snapshot, connection: Connection, *, newest: bool = True
) -> Path | None:
    """Build the index of a snapshot unless it is there; None if it cannot be stored.

    It is built through a connection in memory, which may be of no use afterwards if what
    was extended is damaged: see `usable`.

    If an index of an earlier state exists and only new runs or measures came, it is
    copied and extended. The index of an old version (``newest`` false) stays until a
    newer one is built.
    """
    path = index_path(folder, snapshot)
    check_inside(folder.root, path)
    if path.exists():
        return path
    try:
        folder.cache.mkdir(exist_ok=True)
        sweep_before(path)
        with temporary_folder(path) as beside:
            temporary = beside / path.name
            old, known = _latest(folder)
            if old is None or not _extended(
                temporary, old, known, folder, snapshot, connection
            ):
                temporary.unlink(missing_ok=True)
                sound = connection if usable(connection) else connect()
                with filling(sound, temporary, "pz_building") as own:
                    large = too_large(snapshot.manifests)
                    build_index(own, folder.root, snapshot.manifests, in_place=large)
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
        return None  # a cache that cannot be written, or was deleted just now
    return path


def attach(connection: Connection, path: Path, name: str = INDEX) -> bool:
    """Open an index read-only; False if it is gone or damaged, which deletes it.

    One that holds more than tables is damaged too: others may have made it, and what else
    it holds would run when it is read. Another process forgets an index when it has built
    a newer one.
    """
    # Absolute, as DuckDB takes what stands before a colon for the kind of database.
    where = literal(str(path.absolute()))
    beside = list(path.parent.glob(path.name + ".*"))  # a log, which ours never leave
    try:
        if not beside:
            identity = _identity(path)
            connection.execute(f"ATTACH {where} AS {name} (READ_ONLY, TYPE duckdb)")
            if identity in _sound or only_tables(connection, name):
                _sound.add(identity)
                return True
            connection.execute(f"DETACH {name}")
    except (OSError, duckdb.Error):
        with contextlib.suppress(duckdb.Error):
            connection.execute(f"DETACH DATABASE IF EXISTS {name}")
    for one in (path, *beside):
        with contextlib.suppress(OSError):
            one.unlink(missing_ok=True)
    return False


def _identity(path: Path) -> tuple[int, ...]:
    """Return what no file has that was written or replaced since."""
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def usable(connection: Connection) -> bool:
    """Whether a connection answers: an inner error of DuckDB ends a whole instance."""
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
    """Copy an index and add to it; False if it has to be built from nothing.

    That is so if it has other shards than are said of it or ones that the snapshot has
    not, is gone, or is damaged.
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
        with filling(connection, temporary, "pz_building") as own:
            if {
                row[0] for row in own.execute("SELECT shard FROM shards").fetchall()
            } != known:
                return False
            if too_large(snapshot.manifests) == ("models" in tables_of(own)):
                return False
            return extend(own, folder, added)
    except (FileNotFoundError, duckdb.Error):
        return False


def _latest(folder: Folder) -> tuple[Path | None, set[str]]:
    """The index built last and the shards in it: a hint, ignored if unreadable."""
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
    """Delete superseded indexes; readers that have one open keep it."""
    for path in folder.cache.glob("index-*.duckdb"):
        if path not in keep:
            with contextlib.suppress(OSError):
                path.unlink()
