"""The DuckDB index: a cache built from a snapshot, never written in place.

An open writer of a DuckDB file locks every reader out, and the other way round. So an
index is built under a temporary name, closed, and renamed to a name derived from its
snapshot; readers open it read-only. `models` (runs x checkpoints x newest measures) is
materialised, because the join on the fly costs 6-200 times as much; in a catalogue that
is too large for that (`catalog.in_place`), both big tables are views over Parquet.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from catalog.errors import ShardCorrupt
from catalog.folder import Folder
from catalog.in_place import keep_repeats, make_views, merge_newest, too_large
from catalog.inside import check_inside
from catalog.manifest import File, Manifest
from catalog.measures import newest_sql, quoted
from catalog.schema import empty
from catalog.snapshot import Snapshot

VERSION = 4
"""Version of the index's own tables: another one is rebuilt."""

_MAIN = ("weights", "checkpoints", "measures", "tombstones", "tensors")
"""The main file of a shard is the first of these kinds that it has."""

STORED = ("runs", "checkpoints", "tensors", "chunks")
"""Metadata that is copied into the index; the rest stays in Parquet."""

BATCH = 2_000_000
"""Rows of `models` that are joined and sorted at a time, to bound memory."""

Connection = duckdb.DuckDBPyConnection


def connect(path: str | Path = ":memory:") -> Connection:
    """A connection that writes nothing to stdout.

    DuckDB draws its own progress bar there when a query takes seconds, into the midst
    of what a command prints.
    """
    connection = duckdb.connect(str(path))
    connection.execute("SET enable_progress_bar_print = false")
    return connection


def index_path(folder: Folder, snapshot: Snapshot) -> Path:
    """Where the index of a snapshot stands."""
    return folder.cache / f"index-v{VERSION}-{snapshot.id}.duckdb"


def ensure_index(folder: Folder, snapshot: Snapshot, *, newest: bool = True) -> Path | None:
    """Build the index of a snapshot unless it is there; None if it cannot be stored.

    If an index of an earlier state exists and only new runs or measures came, it is
    copied and extended. The index of an old version (``newest`` false) stays until a
    newer one is built.
    """
    path = index_path(folder, snapshot)
    check_inside(folder.root, path)
    if path.exists():
        return path
    temporary = folder.cache / f".{secrets.token_hex(8)}.duckdb.tmp"
    try:
        folder.cache.mkdir(exist_ok=True)
        old, known = _latest(folder)
        if old is None or not _extended(temporary, old, known, folder, snapshot):
            _remove(temporary)
            with connect(temporary) as connection:
                large = too_large(snapshot.manifests)
                build(connection, folder.root, snapshot.manifests, in_place=large)
        os.replace(temporary, path)
        if not newest:
            return path
        names = {"index": path.name, "shards": sorted(snapshot.shards)}
        folder.write(folder.cache / "latest.json", json.dumps(names).encode())
        _forget(folder, keep={path, old})
    except (PermissionError, duckdb.Error):
        return None
    except OSError as error:
        if error.errno in (errno.EROFS, errno.ENOSPC):
            return None
        raise
    finally:
        with contextlib.suppress(OSError):
            _remove(temporary)
    return path


def attach(connection: Connection, path: Path) -> bool:
    """Open an index read-only; False if it is gone or damaged, which deletes it.

    Another process forgets an index when it has built a newer one.
    """
    escaped = str(path).replace("'", "''")
    try:
        connection.execute(f"ATTACH '{escaped}' AS zoo_index (READ_ONLY)")
        connection.execute("SET search_path = 'memory.main,zoo_index.main'")
    except duckdb.Error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return False
    return True


def _extended(
    temporary: Path, old: Path, known: set[str], folder: Folder, snapshot: Snapshot
) -> bool:
    """Copy an index and add to it; False if it has to be built from nothing.

    That is so if it has shards that the snapshot has not, is gone, or is damaged.
    """
    if not known <= snapshot.shards.keys():
        return False
    added = [m for m in snapshot.manifests if m.shard not in known]
    try:
        shutil.copyfile(old, temporary)
        with connect(temporary) as connection:
            if too_large(snapshot.manifests) == ("models" in _tables(connection)):
                return False
            return _extend(connection, folder, added)
    except (FileNotFoundError, duckdb.Error):
        return False


def build(
    connection: Connection,
    root: Path,
    manifests: Sequence[Manifest],
    *,
    in_place: bool = False,
) -> None:
    """Fill an empty database from the metadata files of the manifests.

    With ``in_place`` it gets no ``checkpoints`` and ``models``: `view_in_place` makes them.

    Raises
    ------
    ShardCorrupt
        If a metadata file is missing or is not the one that was committed.
    duckdb.Error
        If what was committed does not fit together.
    """
    _shards_table(connection, manifests, "CREATE TABLE shards AS")
    for table in STORED:
        if not in_place or table != "checkpoints":
            _copy(connection, root, manifests, table)
    source = "checkpoints"
    if in_place:
        source = parquet_source(metadata_paths(root, manifests, "checkpoints"))
    _remove_tombstoned(connection, root, manifests, source)
    if in_place:
        keep_repeats(connection, source)
    _keep_first_commits(connection)
    measures = [m for m in manifests if m.content == "measures"]
    columns = _measure_columns(measures)
    newest = "SELECT NULL::VARCHAR AS run_id, NULL::BIGINT AS step WHERE false"
    connection.execute(f"CREATE TABLE pz_waiting AS {newest}")
    if columns:
        packs = [m for m in manifests if m.content == "pack"]
        _measure_rows(connection, root, [*measures, *packs])
        if not in_place:
            _keep_waiting(connection)
        newest = newest_sql("measure_rows", columns)
    connection.execute(f"CREATE TABLE pz_newest AS {newest}")
    connection.execute("DROP TABLE IF EXISTS measure_rows")
    if not in_place:
        _fill_models(connection, manifests)
        connection.execute("DROP TABLE pz_newest")


def view_in_place(
    connection: Connection, root: Path, manifests: Sequence[Manifest]
) -> None:
    """Make the views that stand for the big tables, if the index does not have these.

    Raises
    ------
    ShardCorrupt
        If a file of checkpoints is missing or has another length than committed.
    """
    if not too_large(manifests):
        return
    files = [m.own["checkpoints"] for m in manifests if "checkpoints" in m.own]
    for file in files:  # their hashes were checked when the index was built
        check_size(root, file)
    paths = [str(root / file.path) for file in files]
    packed = any(m.content == "pack" for m in manifests)
    make_views(connection, paths, parquet_source, packed=packed)


def _fill_models(connection: Connection, manifests: Sequence[Manifest]) -> None:
    """Make ``models``, a batch of whole shards at a time: one sort would not fit."""
    batch = "SELECT * FROM checkpoints WHERE rowid >= {} AND rowid < {}"
    ids = f"run_id IN (SELECT run_id FROM ({batch}))"
    select = f"""SELECT r.*, c.* EXCLUDE (run_id), m.* EXCLUDE (run_id, step)
        FROM ({batch}) c JOIN (FROM runs WHERE {ids}) r USING (run_id)
        JOIN shards s USING (shard)
        LEFT JOIN (FROM pz_newest WHERE {ids}) m USING (run_id, step)
        ORDER BY s.sequence, s.sha256, c.row, c.run_id, c.step"""
    verb = "CREATE TABLE models AS"
    for first, last in _batches(connection, manifests):
        connection.execute(f"{verb} {select.format(*[first, last] * 3)}")
        verb = "INSERT INTO models"


def _batches(
    connection: Connection, manifests: Sequence[Manifest]
) -> list[tuple[int, int]]:
    """Ranges of rows of ``checkpoints`` that may be sorted one after the other."""
    kind = "checkpoints"
    rows = [(m.sequence, m.own[kind].rows) for m in manifests if kind in m.own]
    total = connection.execute("SELECT count(*) FROM checkpoints").fetchall()[0][0]
    if sum(count for _, count in rows) != total:
        return [(0, total)]  # some came twice: the table is in another order
    ranges, first, last = [], 0, 0
    for i, (sequence, count) in enumerate(rows):
        if last - first >= BATCH and sequence != rows[i - 1][0]:
            ranges.append((first, last))
            first = last
        last += count
    return [*ranges, (first, last)]


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
        raise ShardCorrupt(
            f"{path} is missing, but its manifest names it. Run 'phasezoo verify'; "
            "then fetch the shard again. To give it up, delete its manifest and HEAD."
        ) from error
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
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{listed}], union_by_name=true, hive_partitioning=false)"


def _copy(
    connection: Connection, root: Path, manifests: Sequence[Manifest], table: str
) -> None:
    paths = metadata_paths(root, manifests, table)
    if not paths:
        connection.register("_empty", empty(table))
        connection.execute(f"CREATE TABLE {table} AS SELECT * FROM _empty")
        connection.unregister("_empty")
        return
    source = with_origin(paths) if table == "runs" else parquet_source(paths)
    shard = {"runs": "pz_shard", "tensors": None}.get(table, "shard")
    packed = shard and any(m.content == "pack" for m in manifests)
    # A pack may hold rows of shards that were given up after it was written.
    only = f"WHERE {shard} IN (SELECT shard FROM shards)" if packed else ""
    connection.execute(f"CREATE TABLE {table} AS FROM {source} {only}")


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


def _remove_tombstoned(
    connection: Connection, root: Path, manifests: Sequence[Manifest], checkpoints: str
) -> None:
    """Drop what was removed after it was committed, and runs that have nothing left.

    A removed checkpoint that is committed again, exists again. Rows that stay in
    Parquet are listed in ``pz_removed``, those of a table are deleted.
    """
    connection.execute(
        "CREATE TABLE pz_removed (shard VARCHAR, run_id VARCHAR, step BIGINT)"
    )
    paths = metadata_paths(root, manifests, "tombstones")
    if not paths:
        return
    connection.execute(
        f"""INSERT INTO pz_removed SELECT c.shard, c.run_id, c.step
        FROM {checkpoints} c JOIN shards s USING (shard) JOIN (
            SELECT t.run_id, t.step, max(ts.sequence) AS sequence
            FROM {with_origin(paths)} t JOIN shards ts ON ts.shard = t.pz_shard
            GROUP BY ALL) r USING (run_id, step)
        WHERE s.sequence < r.sequence"""
    )
    left = f"{checkpoints} ANTI JOIN pz_removed USING (shard, run_id, step)"
    connection.execute(
        f"""DELETE FROM runs WHERE run_id IN (SELECT run_id FROM pz_removed) AND
        (pz_shard, run_id) NOT IN (SELECT (shard, run_id) FROM {left})"""
    )
    if checkpoints == "checkpoints":
        connection.execute(f"CREATE OR REPLACE TABLE checkpoints AS FROM {left}")
        connection.execute("DELETE FROM pz_removed")


def _keep_first_commits(connection: Connection) -> None:
    """Of equal runs, checkpoints and tensors committed twice, keep the first."""
    for table, key, shard in (
        ("runs", "run_id", "pz_shard"),
        ("checkpoints", "run_id, step", "shard"),
        ("tensors", "arch_id, position", None),
    ):
        columns = f"DISTINCT ON ({key}) t.*" if shard else "DISTINCT t.*"
        if table not in _tables(connection):
            continue
        exclude = " EXCLUDE (pz_shard)" if table == "runs" else ""
        # Equal hashes of unequal keys only cost the query that then looks for repeats.
        total, distinct = connection.execute(
            f"SELECT count(*), count(DISTINCT hash({key})) FROM {table}"
        ).fetchall()[0]
        if total == distinct:
            if table == "runs":
                connection.execute("ALTER TABLE runs DROP COLUMN IF EXISTS pz_shard")
            continue
        order = (
            f"JOIN shards s ON s.shard = t.{shard} ORDER BY {key}, s.sequence, s.sha256"
            if shard
            else ""
        )
        connection.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT *{exclude} FROM "
            f"(SELECT {columns} FROM {table} t {order})"
        )


def _shards_table(connection: Connection, manifests: Sequence[Manifest], verb: str) -> None:
    rows = []
    for manifest in manifests:
        kind = next(k for k in _MAIN if k in manifest.files)
        file = manifest.files[kind]
        rows.append(
            {
                "shard": manifest.shard,
                "content": manifest.content,
                "sequence": manifest.sequence,
                "created": manifest.created,
                "writer": manifest.writer,
                "arch_id": manifest.arch_id,
                "layout_id": manifest.layout_id,
                "path": manifest.own[kind].path if kind in manifest.own else None,
                "rows": file.rows,
                "bytes": file.bytes,
                "sha256": file.sha256,
            }
        )
    table = pa.Table.from_pylist(rows, schema=empty("shards").schema)
    connection.register("_rows", table)
    connection.execute(f"{verb} SELECT * FROM _rows")
    connection.unregister("_rows")


def _measure_rows(
    connection: Connection, root: Path, manifests: Sequence[Manifest]
) -> None:
    """Measures with the rank of their commit, as table ``measure_rows``."""
    paths = metadata_paths(root, manifests, "measures")
    ordered = sorted(manifests, key=lambda m: m.order)
    ranks = pa.table(
        {
            "pz_shard": [m.shard for m in ordered],
            "pz_rank": pa.array(range(len(ordered)), pa.int32()),
        }
    )
    connection.register("_ranks", ranks)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE measure_rows AS "
        "SELECT f.* EXCLUDE (pz_shard, measure, measure_id, provenance), k.pz_rank "
        f"FROM {with_origin(paths)} f JOIN _ranks k USING (pz_shard)"
    )
    connection.unregister("_ranks")


def _keep_waiting(connection: Connection) -> None:
    """Remember which checkpoints of ``measure_rows`` have not come yet."""
    connection.execute(
        "INSERT INTO pz_waiting SELECT run_id, step FROM measure_rows "
        "ANTI JOIN checkpoints USING (run_id, step)"
    )


def _measure_columns(measures: Sequence[Manifest]) -> list[str]:
    """Result columns in the spelling of their first commit, as SQL ignores case."""
    spelled: dict[bytes, str] = {}
    for manifest in measures:
        for column in manifest.measure_columns:
            spelled.setdefault(_spelling(column), column)
    return list(spelled.values())


def _spelling(column: str) -> bytes:
    """What SQL compares: the name with the case of ASCII letters ignored."""
    return column.encode().lower()


def _extend(connection: Connection, folder: Folder, added: Sequence[Manifest]) -> bool:
    """Add shards to an existing index; False if only a rebuild gives the right answer.

    A rebuild is needed when a new shard removes or packs others, repeats a known run
    (the first commit wins),
    brings columns or types that the tables do not have, holds a checkpoint that was
    measured before it came, or was committed before one that is already in; and always
    when some shard has a column in runs that another has in checkpoints, as ``models``
    then renames one of them.
    """
    newest = connection.execute("SELECT coalesce(max(sequence), -1) FROM shards")
    last = newest.fetchall()[0][0]
    if any(m.sequence <= last for m in added):
        return False
    if any(m.content in ("tombstones", "pack") for m in added):
        return False
    root = folder.root
    rows = [m for m in added if m.content != "measures"]
    measures = [m for m in added if m.content == "measures"]
    tables = _tables(connection)
    with connect() as scratch:
        build(scratch, root, rows)
        fresh = {t: scratch.sql(f"FROM {t}").to_arrow_table() for t in STORED}
    for table, values in fresh.items():
        connection.register(f"_{table}", values)
        if table not in tables:
            continue
        if not _types(connection, f"_{table}").items() <= _types(connection, table).items():
            return False
    points = "checkpoints" if "checkpoints" in tables else "_checkpoints"
    names = ({*map(_spelling, _types(connection, t))} for t in ("runs", points))
    if set.intersection(*names) != {b"run_id"}:
        return False
    for known in (
        "_runs JOIN runs USING (run_id)",
        "_checkpoints JOIN pz_waiting USING (run_id, step)",
    ):
        if connection.execute(f"SELECT count(*) FROM {known}").fetchall()[0][0]:
            return False
    connection.execute("BEGIN")
    _shards_table(connection, added, "INSERT INTO shards")
    for table in STORED:
        new = (
            ""
            if table != "tensors"
            else " WHERE arch_id NOT IN (SELECT arch_id FROM tensors)"
        )
        if table in tables:
            connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM _{table}{new}")
    if "models" in tables:
        connection.execute(
            "INSERT INTO models BY NAME SELECT r.*, c.* EXCLUDE (run_id) "
            "FROM _checkpoints c JOIN _runs r USING (run_id) JOIN shards s USING (shard) "
            "ORDER BY s.sequence, s.sha256, c.row, c.run_id, c.step"
        )
    if measures and not _update_models(connection, root, measures):
        return False
    connection.execute("COMMIT")
    for table in STORED:
        connection.unregister(f"_{table}")
    return True


def _update_models(
    connection: Connection, root: Path, measures: Sequence[Manifest]
) -> bool:
    columns = _measure_columns(measures)
    _measure_rows(connection, root, measures)
    if "models" not in _tables(connection):
        quotes = [f'"{quoted(c)}"' for c in columns]
        return merge_newest(connection, newest_sql("measure_rows", columns), quotes)
    types, known = _types(connection, "measure_rows"), _types(connection, "models")
    own = {**_types(connection, "runs"), **_types(connection, "checkpoints")}
    spelled = {_spelling(name): name for name in known}
    for column in columns:
        same = spelled.get(_spelling(column), column)
        if same != column or same in own or known.get(same, types[same]) != types[same]:
            return False
    for column in columns:
        if column not in known:
            connection.execute(
                f'ALTER TABLE models ADD COLUMN "{quoted(column)}" {types[column]}'
            )
    sets = ", ".join(
        f'"{c}" = coalesce(m."{c}", models."{c}")' for c in map(quoted, columns)
    )
    connection.execute(
        f"UPDATE models SET {sets} FROM ({newest_sql('measure_rows', columns)}) m "
        "WHERE models.run_id = m.run_id AND models.step = m.step"
    )
    _keep_waiting(connection)
    connection.execute("DROP TABLE measure_rows")
    return True


def _tables(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute("SHOW TABLES").fetchall()}


def _types(connection: Connection, table: str) -> dict[str, str]:
    described = connection.execute(f"DESCRIBE {table}").fetchall()
    return {name: kind for name, kind, *_ in described}


def _latest(folder: Folder) -> tuple[Path | None, set[str]]:
    """The index built last and the shards in it: a hint, ignored if unreadable."""
    try:
        value = json.loads((folder.cache / "latest.json").read_bytes())
        path = folder.cache / Path(value["index"]).name
        shards = set(value["shards"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, set()
    ours = path.name.startswith(f"index-v{VERSION}-") and path.exists()
    return (path, shards) if ours else (None, set())


def _remove(index: Path) -> None:
    """Delete an unfinished index and its log."""
    index.unlink(missing_ok=True)
    index.with_name(index.name + ".wal").unlink(missing_ok=True)


def _forget(folder: Folder, keep: set[Path | None]) -> None:
    """Delete superseded indexes; readers that have one open keep it."""
    for path in folder.cache.glob("index-*.duckdb"):
        if path not in keep:
            with contextlib.suppress(OSError):
                path.unlink()
