import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import catalog
from catalog import Catalog, CatalogError, ShardCorrupt
from catalog.index import cache
from catalog.index.tables import Connection
from catalog.query import database
from catalog.storage.snapshot import newest_snapshot, read_head


def versions(zoo: Catalog) -> list[int]:
    return sorted(int(p.stem) for p in (zoo.root / "snapshots").glob("*.json"))


def counted(zoo: Catalog) -> int:
    return int(zoo.refreshed().sql("SELECT count(*) FROM models").fetchall()[0][0])


def test_versions_grow_and_old_ones_stay_as_they_were(zoo: Catalog, metrics: Any) -> None:
    seen, texts = [zoo.version], {}
    for i in range(4):
        texts |= {n: (zoo.root / f"snapshots/{n}.json").read_bytes() for n in versions(zoo)}
        metrics(zoo, f"r{i}")
        seen.append(zoo.refreshed().version)
    assert seen == [1, 2, 3, 4, 5] == versions(zoo)
    for n, text in texts.items():
        assert (zoo.root / f"snapshots/{n}.json").read_bytes() == text


def test_opening_again_without_news_writes_nothing(zoo: Catalog, files: Any) -> None:
    before = files(zoo.root)
    assert catalog.open(zoo.root).version == zoo.version
    assert files(zoo.root) == before


def test_an_empty_catalogue_is_version_zero(new_zoo: Any) -> None:
    zoo = new_zoo()
    assert (zoo.version, zoo.snapshot.manifests) == (0, ())
    assert zoo.sql("FROM models").fetchall() == []


def test_commits_of_a_writer_that_never_closed_are_seen(zoo: Catalog, runs_of: Any) -> None:
    with zoo.writer() as writer:
        writer.commit(runs_of(["x"]), pa.table({"run_id": ["x"], "step": [0]}))
        assert counted(zoo) == 6


@pytest.mark.parametrize("kept", ["nothing", "snapshots"])
def test_a_deleted_head_is_rebuilt_from_the_manifests(
    zoo: Catalog, metrics: Any, kept: str
) -> None:
    metrics(zoo, "x", "y")
    newest = zoo.refreshed().version
    (zoo.root / "HEAD").unlink()
    if kept == "nothing":
        shutil.rmtree(zoo.root / "snapshots")
    assert counted(zoo) == 7
    assert zoo.refreshed().version == (1 if kept == "nothing" else newest + 1)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b"-1\n",
        b"1.0",
        b"1\n2",
        b"\xff\xfe1",
        b"1 abc",
        b"9" * 13,
        "１".encode(),
        b"1 \n",
    ],
)
def test_a_damaged_head_is_refused_with_the_way_out(zoo: Catalog, text: bytes) -> None:
    (zoo.root / "HEAD").write_bytes(text)
    with pytest.raises(
        ShardCorrupt, match=r"HEAD must hold a version .*Delete it; it will be rebuilt"
    ):
        catalog.open(zoo.root)
    (zoo.root / "HEAD").unlink()
    assert counted(zoo) == 5


def test_a_head_that_names_another_snapshot_is_refused(zoo: Catalog, metrics: Any) -> None:
    metrics(zoo, "x")
    head = zoo.root / "HEAD"
    head.write_text("1" + head.read_text()[1:])
    with pytest.raises(
        ShardCorrupt, match=r"1.json is not the file that HEAD names .*Delete HEAD"
    ):
        catalog.open(zoo.root)
    head.write_text("7" + head.read_text()[1:])
    with pytest.raises(ShardCorrupt, match=r"7.json is missing"):
        catalog.open(zoo.root)


def test_a_head_without_a_digest_is_read(zoo: Catalog) -> None:
    (zoo.root / "HEAD").write_text("1\n")
    assert counted(zoo) == 5


@pytest.mark.parametrize(
    "text", ["{}", "[]", "3", '{"shards": {}}', '{"format": [1, 0]}', "{"]
)
def test_a_snapshot_that_is_none_is_refused(zoo: Catalog, text: str) -> None:
    (zoo.root / "snapshots" / "1.json").write_text(text)
    for head in ("1\n", (zoo.root / "HEAD").read_text()):
        (zoo.root / "HEAD").write_text(head)
        with pytest.raises(ShardCorrupt, match=r"snapshots/1\.json"):
            catalog.open(zoo.root)


@pytest.mark.parametrize("where", ["snapshots/1.json", "manifests/*.json"])
def test_a_newer_major_format_is_refused_with_upgrade(zoo: Catalog, where: str) -> None:
    (path,) = zoo.root.glob(where)
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "format": [3, 0]}))
    (zoo.root / "HEAD").write_text("1\n")
    if where.startswith("manifests"):
        (zoo.root / "HEAD").unlink()
    with pytest.raises(
        CatalogError, match=r"format 3\.0.*Upgrade: pip install -U phasezoo"
    ):
        catalog.open(zoo.root)


def test_a_snapshot_that_was_never_published_is_never_overwritten(
    zoo: Catalog, metrics: Any
) -> None:
    """As after a kill between writing a snapshot and moving HEAD."""
    orphan = zoo.root / "snapshots" / "2.json"
    orphan.write_text("whatever")
    metrics(zoo, "x")
    assert zoo.refreshed().version == 3
    assert orphan.read_text() == "whatever"
    assert counted(zoo) == 6


def test_versions_do_not_run_out_of_range(zoo: Catalog, metrics: Any) -> None:
    (zoo.root / "snapshots" / f"{10**12 - 1}.json").write_text("")
    with pytest.raises(CatalogError, match="version 1000000000000 is out of range"):
        metrics(zoo, "x")


def test_refreshing_without_publishing_sees_news_and_writes_nothing(
    zoo: Catalog, metrics: Any, files: Any
) -> None:
    metrics(zoo, "x")
    (zoo.root / "HEAD").unlink()
    before = files(zoo.root)
    assert len(newest_snapshot(zoo._folder, publish=False).manifests) == 2
    assert files(zoo.root) == before
    assert read_head(zoo._folder).version == 0


@pytest.mark.parametrize("damage", ["deleted", "emptied", "truncated", "garbled", "latest"])
def test_a_lost_or_damaged_cache_is_rebuilt(
    zoo: Catalog, metrics: Any, damage: str
) -> None:
    assert counted(zoo) == 5
    cache = zoo.root / "cache"
    (index,) = cache.glob("*.duckdb")
    if damage == "deleted":
        shutil.rmtree(cache)
    elif damage == "latest":
        (cache / "latest.json").write_text('{"index": "../../x", "shards": [[]]}')
    else:
        data = {
            "emptied": b"",
            "truncated": index.read_bytes()[:20_000],
            "garbled": b"x" * 9999,
        }
        index.write_bytes(data[damage])
    assert counted(zoo) == 5
    metrics(zoo, "x")
    assert counted(zoo) == 6
    assert counted(zoo) == 6


def test_a_damaged_index_may_end_the_database_that_extends_it(
    zoo: Catalog, metrics: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB ends a whole instance where a file breaks what it relies on."""
    assert counted(zoo) == 5
    attach = cache.attach
    ended: list[Path] = []

    def end_once(connection: Connection, path: Path, *name: str) -> bool:
        if ended:
            return bool(attach(connection, path, *name))
        connection.close()
        path.unlink()
        ended.append(path)
        return False

    for module, count in ((cache, 6), (database, 7)):
        metrics(zoo, f"x{count}")
        ended.clear()
        monkeypatch.setattr(module, "attach", end_once)
        assert counted(zoo) == count
        assert ended
        assert counted(zoo) == count


def test_an_index_that_another_process_forgot_is_no_error(
    zoo: Catalog, monkeypatch: Any
) -> None:
    monkeypatch.setattr(
        "catalog.query.database.ensure_index",
        lambda folder, *_, **__: folder.cache / "gone.duckdb",
    )
    assert counted(zoo) == 5


def test_superseded_indexes_are_deleted_but_for_the_last(
    zoo: Catalog, metrics: Any
) -> None:
    for i in range(4):
        metrics(zoo, f"r{i}")
        assert counted(zoo) == 6 + i
    assert len(list((zoo.root / "cache").glob("*.duckdb"))) == 2
    assert list((zoo.root / "cache").glob(".*")) == []


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody may write here: root becomes another user for a while."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def public(zoo: Catalog) -> Iterator[Path]:
    """A copy of the catalogue where other users may look."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        shutil.copytree(
            zoo.root, Path(name) / "zoo", ignore=shutil.ignore_patterns("cache")
        )
        yield Path(name) / "zoo"


@pytest.mark.parametrize("cache", ["none", "empty", "stale", "current"])
def test_a_read_only_folder_is_read(
    public: Path, files: Any, metrics: Any, cache: str
) -> None:
    zoo = catalog.open(public)
    if cache == "empty":
        (public / "cache").mkdir()
    if cache in ("stale", "current"):
        counted(zoo)
    if cache == "stale":
        metrics(zoo, "x")
        (public / "HEAD").write_text("1\n")
    before = files(public)
    with read_only(public):
        opened = catalog.open(public)
        assert counted(opened) == 5 + (cache == "stale")
        assert len(opened.load("row IS NOT NULL", verify=True)) == 5
        with pytest.raises(CatalogError, match=r"Cannot write to .*Permission denied"):
            opened.writer()
    assert files(public) == before


REFUSALS = [("os.replace", 28), ("os.replace", 30), ("pathlib.Path.mkdir", 30)]


@pytest.mark.parametrize(("call", "errno"), [*REFUSALS, ("pathlib.Path.rename", 28)])
def test_where_nothing_can_be_written_everything_can_be_read(
    zoo: Catalog, metrics: Any, monkeypatch: Any, call: str, errno: int
) -> None:
    metrics(zoo, "x")
    (zoo.root / "HEAD").write_text("1\n")

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno, os.strerror(errno))

    monkeypatch.setattr(call, refuse)
    assert counted(zoo) == 6
    assert len(catalog.open(zoo.root).load("row IS NOT NULL", verify=True)) == 5
    monkeypatch.undo()
    assert list((zoo.root / "cache").glob(".*")) == []


def test_duckdb_running_out_of_disk_while_indexing_is_no_error(
    zoo: Catalog, monkeypatch: Any
) -> None:
    real, full = duckdb.connect, []

    def refuse(*args: Any, **kwargs: Any) -> None:
        full.append(args)
        raise duckdb.IOException("IO Error: Could not write file: No space left on device")

    def connect(path: str = ":memory:", **kwargs: Any) -> Any:
        return (real if path == ":memory:" else refuse)(path, **kwargs)

    monkeypatch.setattr("catalog.index.cache.build_index", refuse)
    monkeypatch.setattr(duckdb, "connect", connect)
    assert counted(zoo) == 5
    assert len(full) == 2  # neither in the cache nor in a temporary folder
    assert list((zoo.root / "cache").glob("*.duckdb")) == []
