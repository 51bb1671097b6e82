"""A cache that others made is data: what they put into it never runs.

In statements OUT stands for a folder, and LOG for a call that writes files there.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

import catalog
from catalog import Catalog
from catalog.index import in_place
from catalog.index.plain import only_tables
from catalog.index.tables import connect

_LOG = "enable_logging('QueryLog', storage = 'file', storage_path = 'OUT/log')"
_PROFILE = "enable_profiling('json', save_location = 'OUT/precious.txt')"
_INSTEAD = "ALTER TABLE {0} RENAME TO hidden; CREATE VIEW {0} AS "

POISON = [
    f"CREATE MACRO max(x) AS (SELECT 0 FROM {_LOG})",
    f"CREATE MACRO max(x) AS (SELECT 0 FROM {_PROFILE})",
    f"CREATE MACRO count() AS (SELECT 0 FROM {_LOG})",
    "CREATE MACRO avg(x) AS 0.99",
    "CREATE MACRO duckdb_functions() AS TABLE SELECT 'x' AS database_name WHERE false",
    "CREATE MACRO duckdb_views() AS TABLE SELECT 'x' AS database_name WHERE false",
    f"{_INSTEAD.format('pz_waiting')} SELECT 'x' AS run_id, 0 AS step FROM {_LOG}",
    f"{_INSTEAD.format('pz_waiting')} SELECT content AS run_id, 0 AS step "
    "FROM read_text('OUT/precious.txt')",
    f"{_INSTEAD.format('models')} SELECT * REPLACE ('false' AS zoo) FROM hidden",
    f"CREATE VIEW more AS FROM {_LOG}",
    "CREATE TABLE more (a INTEGER)",
    "CREATE SCHEMA more",
    "CREATE SCHEMA more; CREATE TABLE more.models AS SELECT 1 AS a",
    "CREATE TYPE more AS ENUM ('a')",
    "CREATE SEQUENCE more",
    "CREATE INDEX more ON pz_waiting (run_id)",
    "CREATE INDEX more ON pz_waiting ((upper(run_id)))",
    "CREATE OR REPLACE TABLE pz_waiting (run_id VARCHAR, step BIGINT, CHECK (step > 3))",
    "CREATE OR REPLACE TABLE pz_waiting (run_id VARCHAR PRIMARY KEY, step BIGINT)",
    "CREATE OR REPLACE TABLE pz_waiting (run_id VARCHAR NOT NULL, step BIGINT)",
    "CREATE OR REPLACE TABLE pz_waiting (run_id VARCHAR DEFAULT (upper('a')), step BIGINT)",
    "CREATE OR REPLACE TABLE pz_waiting (run_id VARCHAR, step AS (length(run_id)))",
    "DROP TABLE pz_waiting",
]


@pytest.fixture(scope="module")
def made(new_zoo: Callable[[], Catalog], metrics: Callable[..., Any]) -> Path:
    """A catalogue with an index, and one commit that is not in it yet."""
    zoo = new_zoo()
    metrics(zoo, "a", "b", width=[8, 16])
    assert rows(zoo.root) == 2
    metrics(zoo, "c", width=[8])
    return zoo.root


@pytest.fixture
def zoo(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """A copy of it."""
    root = tmp_path_factory.mktemp("copy") / "zoo"
    shutil.copytree(made, root)
    return catalog.open(root)


def rows(root: Path) -> int:
    found: int = catalog.open(root).sql("SELECT count(*) FROM models").fetchall()[0][0]
    return found


def index_of(root: Path) -> Path:
    latest = json.loads((root / "cache" / "latest.json").read_text())
    path: Path = root / "cache" / latest["index"]
    return path


def poisoned(path: Path, statements: str, out: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(statements.replace("OUT", str(out)))


@pytest.mark.parametrize(
    ("statements", "kind"),
    [(one, ("extended", "attached")[i % 2]) for i, one in enumerate(POISON)]
    + [
        pytest.param(one, ("attached", "extended")[i % 2], marks=pytest.mark.slow)
        for i, one in enumerate(POISON)
    ]
    + [(one, "in place") for one in POISON[:2] + POISON[-1:]],
)
def test_what_others_put_into_an_index_never_runs(
    zoo: Catalog,
    statements: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind == "in place":
        statements = statements.replace("models", "runs")
        monkeypatch.setattr(in_place, "STORED_CHECKPOINTS", 0)
    if kind != "extended":
        assert rows(zoo.root) == 3
    path = index_of(zoo.root)
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")
    poisoned(path, statements, tmp_path)
    bad = path.read_bytes()
    reader = catalog.open(zoo.root)
    found = reader.sql("SELECT count(*), count(DISTINCT zoo), avg(width) FROM models")
    assert found.fetchall() == [(3, 1, pytest.approx(32 / 3))]
    assert reader.sql("SELECT zoo FROM models LIMIT 1").fetchall() == [("zoo",)]
    assert precious.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [precious]
    after = index_of(zoo.root)
    assert after.read_bytes() != bad
    with connect() as connection:
        connection.execute(f"ATTACH '{after}' AS found (READ_ONLY)")
        assert only_tables(connection, "found")


def test_an_index_of_ours_is_extended_and_stays(zoo: Catalog, monkeypatch: Any) -> None:
    monkeypatch.delattr("catalog.index.cache.build_index")  # fails where it would be called
    assert rows(zoo.root) == 3
    path = index_of(zoo.root)
    before = path.stat()
    assert rows(zoo.root) == 3
    assert path.stat().st_ino == before.st_ino


def test_a_log_beside_an_index_is_not_replayed(zoo: Catalog) -> None:
    assert rows(zoo.root) == 3
    path = index_of(zoo.root)
    log = path.with_name(path.name + ".wal")
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE MACRO max(x) AS 42")
        kept = log.read_bytes()
    log.write_bytes(kept)
    assert catalog.open(zoo.root).sql("SELECT max(width) FROM models").fetchall() == [(16,)]
    assert not log.exists()


def test_a_database_of_another_kind_fetches_nothing(
    zoo: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rows(zoo.root) == 3
    path = index_of(zoo.root)
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE models (a)")
    other.commit()
    other.close()
    with connect() as connection, pytest.raises(duckdb.Error, match="not found"):
        connection.execute(f"ATTACH '{path}' AS other")
    assert rows(zoo.root) == 3


@pytest.mark.parametrize(
    "name", ["../HEAD", "/etc/passwd", "index-v6-x.duckdb", "", None, ["a"], {"a": 1}, "\0"]
)
def test_the_name_of_the_newest_index_is_a_name_of_ours(zoo: Catalog, name: Any) -> None:
    latest = zoo.root / "cache" / "latest.json"
    known = json.loads(latest.read_text())
    latest.write_text(json.dumps(known | {"index": name}))
    assert rows(zoo.root) == 3


def test_shards_that_an_index_lacks_are_not_taken_for_indexed(zoo: Catalog) -> None:
    latest = zoo.root / "cache" / "latest.json"
    known = json.loads(latest.read_text())
    every = sorted(zoo.refreshed().snapshot.shards)
    assert len(every) == 2 != len(known["shards"])
    latest.write_text(json.dumps(known | {"shards": every}))
    assert rows(zoo.root) == 3
