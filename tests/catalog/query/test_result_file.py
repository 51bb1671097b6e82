"""Answers as files: whole or not at all, and what was asked for."""

import csv
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog import Catalog, CatalogError, NotFound
from catalog.console.program import main
from catalog.query import result_file
from catalog.query.result_file import result_path, write_result

EVERY = """
    SELECT i, i::DOUBLE / 3 AS x, CASE WHEN i = 1 THEN NULL ELSE 'text ' || i END AS t,
    i > 1 AS flag, [i, i + 1] AS list, {'a': i, 'b': 'x'} AS pair, DATE '2020-01-01' AS day,
    TIMESTAMP '2020-01-01 10:00:00.5' AS moment, 1.50::DECIMAL(5, 2) AS price,
    sum(i) OVER (ORDER BY i) AS total, 'ab'::BLOB AS bytes, uuid_extract_version(
    '019a0000-0000-7000-8000-000000000000'::UUID) AS version, 'quote " comma, é' AS odd,
    'nan'::DOUBLE AS nan FROM range(4) t(i) ORDER BY i"""


@pytest.fixture
def phasezoo(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(exit_.value.code or 0), out, err

    return run


def test_parquet_holds_the_very_values(zoo: Catalog, tmp_path: Path) -> None:
    path = result_path(tmp_path / "new" / "answer.parquet")
    assert write_result(zoo.sql(EVERY), path) == 4
    found, expected = pq.read_table(path), zoo.sql(EVERY).to_arrow_table()
    assert [str(f.type) for f in found.schema if not pa.types.is_nested(f.type)] == [
        str(f.type) for f in expected.schema if not pa.types.is_nested(f.type)
    ]
    assert repr(found.to_pylist()) == repr(expected.to_pylist())
    again = zoo.sql(f"SELECT count(*) FROM ({EVERY})").fetchall()
    assert again == [(pq.read_table(path).num_rows,)]


def test_csv_holds_what_duckdb_says(zoo: Catalog, tmp_path: Path) -> None:
    path = result_path(tmp_path / "answer.CSV")
    assert write_result(zoo.sql(EVERY), path) == 4
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == zoo.sql(EVERY).columns
    text = zoo.sql(f"SELECT COLUMNS(*)::VARCHAR FROM ({EVERY})").to_arrow_table()
    for found, expected in zip(rows, text.to_pylist(), strict=True):
        for name in ("i", "t", "flag", "list", "pair", "day", "moment", "price", "total"):
            assert found[name] == (expected[name] or ""), name
        assert float(found["x"]) == float(expected["x"])
        assert found["odd"] == 'quote " comma, é'


def test_json_is_one_document(zoo: Catalog, tmp_path: Path) -> None:
    path = result_path(tmp_path / "answer.json")
    assert write_result(zoo.sql(EVERY), path) == 4
    rows = json.loads(path.read_text())
    assert [row["i"] for row in rows] == [0, 1, 2, 3]
    assert rows[1] == {
        "i": 1, "x": 1 / 3, "t": None, "flag": False, "list": [1, 2],
        "pair": {"a": 1, "b": "x"}, "day": "2020-01-01",
        "moment": "2020-01-01 10:00:00.5", "price": 1.5,
        "total": 1, "bytes": "6162",
        "version": 7,
        "odd": 'quote " comma, é', "nan": "nan",
    }  # fmt: skip
    empty = result_path(tmp_path / "none.json")
    assert write_result(zoo.sql("FROM models WHERE false"), empty) == 0
    assert json.loads(empty.read_text()) == []


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_many_rows_come_in_batches(
    zoo: Catalog, tmp_path: Path, monkeypatch: Any, ending: str
) -> None:
    monkeypatch.setattr(result_file, "BATCH", 1000)
    path = result_path(tmp_path / f"answer.{ending}")
    query = "SELECT i, 'é' || i AS t, i AS i FROM range(5000) t(i) ORDER BY i"
    assert write_result(zoo.sql(query), path) == 5000
    if ending == "parquet":
        found = pq.read_table(path).to_pylist()
    elif ending == "json":
        found = json.loads(path.read_text())
    else:
        with path.open(newline="") as file:
            found = [
                {k: int(v) if k != "t" else v for k, v in row.items()}
                for row in csv.DictReader(file)
            ]
    assert len(found) == 5000
    assert [list(row.values()) for row in found] == [[i, f"é{i}", i] for i in range(5000)]


@pytest.mark.parametrize("name", ["answer", "answer.txt", "answer.parq", ".csv", "csv"])
def test_unknown_endings_are_refused_before_anything_is_asked(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(NotFound, match=r"ends in \.csv, \.parquet, \.json"):
        result_path(tmp_path / name)


def test_nothing_is_replaced_unless_forced(zoo: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "answer.csv"
    path.write_text("mine")
    with pytest.raises(CatalogError, match=r"exists\. Replace it with --force"):
        result_path(path)
    write_result(zoo.sql("SELECT 1 AS a"), result_path(path, force=True))
    assert path.read_text() == '"a"\n1\n'
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(CatalogError, match="is a folder"):
        result_path(tmp_path / "folder.csv", force=True)


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_what_fails_leaves_what_was_there(
    zoo: Catalog, tmp_path: Path, monkeypatch: Any, ending: str
) -> None:
    path = tmp_path / f"answer.{ending}"
    path.write_text("before")
    late = "SELECT CASE WHEN i < 300000 THEN 1 ELSE ('x' || i)::INTEGER END AS a"
    relation = zoo.sql(f"{late} FROM range(300001) t(i)")
    with pytest.raises(CatalogError, match=r"SQL error\. Conversion Error"):
        write_result(relation, path)
    monkeypatch.setattr("os.fsync", _full)
    with pytest.raises(CatalogError, match=r"Cannot write .*No space left"):
        write_result(zoo.sql("SELECT 1 AS a"), path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def _full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_parquet_cannot_hold_is_told(zoo: Catalog, tmp_path: Path) -> None:
    path = result_path(tmp_path / "answer.parquet")
    with pytest.raises(CatalogError, match=r"cannot hold this answer.*CAST\(column AS"):
        write_result(zoo.sql("SELECT INTERVAL 1 DAY AS span"), path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_allows_and_replaces(
    zoo: Catalog, tmp_path: Path, phasezoo: Any
) -> None:
    given = tmp_path / "given.csv"
    given.write_text("run_id,mark\nrun-1,good\n")
    query = f"SELECT run_id, step, mark FROM models JOIN '{given}' USING (run_id)"
    out = tmp_path / "out.parquet"
    code, shown, told = phasezoo("sql", query, "--to", out, "--catalog", zoo.root)
    assert (code, shown) == (1, "")
    assert f"--allow {tmp_path}" in told
    own = ("--allow", tmp_path, "--catalog", zoo.root)
    assert phasezoo("sql", query, "--to", out, *own) == (0, f"{out}: 1 rows\n", "")
    assert pq.read_table(out).to_pylist() == [
        {"run_id": "run-1", "step": 10, "mark": "good"}
    ]
    code, shown, told = phasezoo("sql", query, "--to", out, *own)
    assert (code, shown) == (1, "")
    assert "exists. Replace it with --force" in told
    code, shown, _ = phasezoo("sql", query, "--to", out, "--force", "--json", *own)
    assert (code, json.loads(shown)) == (0, {"file": str(out), "rows": 1})
    code, shown, told = phasezoo("sql", "SELECT 1", "--to", "x.txt", "--catalog", zoo.root)
    assert (code, shown) == (1, "")
    assert "x.txt has no known file type" in told


def test_the_help_says_what_a_query_may_do(phasezoo: Any) -> None:
    code, shown, _ = phasezoo("sql", "--help")
    assert code == 0
    for word in ("one statement that reads", "--to FILE", "--allow DIR", "--force"):
        assert word in shown


def test_a_table_of_arrow_can_be_asked_for_weights(zoo: Catalog) -> None:
    keys = pa.table({"run_id": ["run-3", "run-1"], "step": [30, 10]})
    assert zoo.select(keys).table["run_id"].to_pylist() == ["run-3", "run-1"]
