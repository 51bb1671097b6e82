"""A query reads the catalogue, and files of folders that are allowed; nothing else."""

import os
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import catalog
from catalog import Catalog, CatalogError, NotFound
from catalog.catalog import arrow_table
from catalog.index import in_place
from catalog.query.answer import NARROWS, Answer
from catalog.query.answer import READS as READING

READS = [
    "FROM '{}/table.csv'",
    "SELECT * FROM read_csv('{}/table.csv')",
    "SELECT * FROM read_csv(['{}/table.csv'], header = true)",
    "FROM '{}/table.parquet'",
    "FROM read_parquet('{}/*.parquet')",
    "FROM read_json('{}/table.json')",
    "SELECT content FROM read_text('{}/table.csv')",
    "SELECT file FROM glob('{}/*')",
    "FROM sniff_csv('{}/table.csv')",
    "FROM parquet_metadata('{}/table.parquet')",
    "FROM query_table('{}/table.csv')",
    "SELECT run_id FROM models WHERE step IN (FROM '{}/table.csv')",
    "PIVOT (FROM '{}/table.csv') ON a",
    "DESCRIBE FROM '{}/table.csv'",
    "EXPLAIN ANALYZE FROM '{}/table.csv'",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "my data"
    (inside / "sub").mkdir(parents=True)
    for name in ("table.csv", "sub/deep.csv"):
        (inside / name).write_text("a\n10\n")
    (inside / "table.json").write_text('[{"a": 10}]')
    pq.write_table(pa.table({"a": [10]}), inside / "table.parquet")
    (tmp_path / "my data 2").mkdir()
    (tmp_path / "my data 2" / "secret.csv").write_text("a\nsecret\n")
    return inside


def test_files_are_read_where_they_are_allowed(zoo: Catalog, folder: Path) -> None:
    allowed = catalog.open(zoo.root, allow=[folder])
    for query in READS:
        text = query.format(folder)
        with pytest.raises(CatalogError, match="it is not part of the catalogue") as error:
            arrow_table(zoo.sql(text))
        assert str(folder) in str(error.value)
        assert f"--allow '{folder}'" in str(error.value)
        assert f"catalog.open(path, allow=['{folder}'])" in str(error.value)
        assert len(arrow_table(allowed.sql(text)))


def test_the_advice_is_what_works(zoo: Catalog, folder: Path, monkeypatch: Any) -> None:
    """For relative names, patterns, and names with quotes in them too."""
    monkeypatch.chdir(folder)
    (folder / "it's").mkdir()
    shutil.copy("table.csv", "it's/table.csv")
    for name, allowed in (
        ("table.csv", "."),
        ("./table.csv", "."),
        ("sub/*.csv", "sub"),
        ("**/deep.csv", "."),
        ("it''s/table.csv", "it's"),
        ("../my data/table.csv", "../my data"),
    ):
        with pytest.raises(CatalogError, match=r"--allow (.*); in Python") as error:
            zoo.sql(f"FROM read_csv('{name}')")
        assert f"allow=[{allowed!r}]" in str(error.value)
        open_too = catalog.open(zoo.root, allow=[allowed])
        assert open_too.sql(f"FROM read_csv('{name}')").fetchall()


def test_what_lies_beside_stays_out_of_reach(zoo: Catalog, folder: Path) -> None:
    os.symlink(folder.parent / "my data 2", folder / "link")
    allowed = catalog.open(zoo.root, allow=[folder])
    for name in (
        "../my data 2/secret.csv",
        "sub/../../my data 2/secret.csv",
    ):
        with pytest.raises(CatalogError, match="not part of the catalogue"):
            allowed.sql(f"FROM read_csv('{folder}/{name}')").fetchall()
    with pytest.raises(CatalogError, match="not part of the catalogue"):
        allowed.sql(f"FROM '{folder} 2/secret.csv'").fetchall()
    there = folder.parent / "my data 2"
    for name in ("link/secret.csv", "link/*.csv"):
        with pytest.raises(CatalogError, match="a link in its path leads to") as error:
            allowed.sql(f"FROM read_csv('{folder}/{name}')").fetchall()
        assert f"--allow '{there}'" in str(error.value)
    (row,) = allowed.sql(f"FROM '{folder}/sub/deep.csv'").fetchall()
    assert row == (10,)


def test_an_allowed_folder_may_be_a_link(zoo: Catalog, folder: Path) -> None:
    link = folder.parent / "link"
    os.symlink(folder, link)
    for allowed in (link, folder):
        for asked in (link, folder):
            found = catalog.open(zoo.root, allow=[allowed]).sql(f"FROM '{asked}/table.csv'")
            assert found.fetchall() == [(10,)]


def test_a_folder_that_is_not_there_is_told(zoo: Catalog, folder: Path) -> None:
    for path, reason in (
        (folder / "none", "does not exist"),
        (folder / "table.csv", "is not a folder"),
    ):
        with pytest.raises(NotFound, match=f"{reason}. Allow the folder that holds"):
            catalog.open(zoo.root, allow=[path])
    allowed = catalog.open(zoo.root, allow=[folder]).refreshed()
    assert allowed.sql(f"FROM '{folder}/table.csv'").fetchall() == [(10,)]
    one = catalog.open(zoo.root, allow=str(folder))  # type: ignore[arg-type]
    assert one.sql(f"FROM '{folder}/table.csv'").fetchall() == [(10,)]


def test_nothing_is_fetched(zoo: Catalog) -> None:
    for query in ("FROM 'https://example.org/a.csv'", "FROM read_parquet('s3://a/b')"):
        with pytest.raises(CatalogError, match=r"remote files are not fetched|SQL error\."):
            zoo.sql(query)


def test_rejected_lines_are_kept_for_one_query_alone(zoo: Catalog, folder: Path) -> None:
    (folder / "odd.csv").write_text("a\n1\nx\n")
    allowed = catalog.open(zoo.root, allow=[folder])
    options = "types = {'a': 'INTEGER'}, store_rejects = true"
    query = f"FROM read_csv('{folder}/odd.csv', {options})"
    before = allowed.sql("SHOW TABLES").fetchall()
    assert allowed.sql(query).fetchall() == [(1,)]
    assert allowed.sql("SHOW TABLES").fetchall() == before
    with pytest.raises(CatalogError, match="does not exist"):
        allowed.sql("FROM reject_errors")


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", ["plain", "it's [1] *?", "é ü", "a=1:b"])
def test_views_over_parquet_answer_in_any_folder(
    template: Path, tmp_path: Path, monkeypatch: Any, name: str, large: bool
) -> None:
    shutil.copytree(template, tmp_path / name, ignore=shutil.ignore_patterns("cache"))
    monkeypatch.setattr(in_place, "STORED_CHECKPOINTS", 0 if large else 1 << 40)
    os.symlink(tmp_path / name, tmp_path / "link")
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path / name, tmp_path / "link", Path(name)):
        zoo = catalog.open(root)
        assert zoo.sql("SELECT count(*) FROM models").fetchall() == [(5,)]
        assert zoo.sql("SELECT count(*) > 5 FROM tensor_stats").fetchall() == [(True,)]
        assert zoo.sql("SELECT count(*) FROM measures").fetchall() == [(0,)]
        assert len(zoo.load("step > 0")) == 4
        assert len(zoo.load("step > 0", verify=True)) == 4


def test_other_files_of_the_catalogue_are_none_of_its_views(zoo: Catalog) -> None:
    for path in ("HEAD", "manifests/*", "weights/**", "runs/*.parquet"):
        with pytest.raises(CatalogError, match="not part of the catalogue"):
            zoo.sql(f"FROM read_text('{zoo.root}/{path}')").fetchall()


def test_an_index_that_cannot_be_stored_leaves_nothing_behind(
    template: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    root, scratch = tmp_path / "zoo", tmp_path / "scratch"
    shutil.copytree(template, root, ignore=shutil.ignore_patterns("cache"))
    scratch.mkdir()
    folder = "catalog.query.database.spill_folder"
    monkeypatch.setattr(folder, lambda: str(scratch / "0"))
    monkeypatch.setattr("catalog.query.database.ensure_index", lambda *_, **__: None)
    zoo = catalog.open(root)
    assert len(zoo.load()) == 5
    assert list(scratch.iterdir()) == []
    query = "SELECT readonly FROM duckdb_databases() WHERE database_name = 'zoo_index'"
    assert zoo.sql(query).fetchall() == [(True,)]
    # Not even there: it is held in memory.
    monkeypatch.setattr(folder, lambda: str(scratch / "none" / "0"))
    zoo = catalog.open(root)
    assert len(zoo.load()) == 5
    assert zoo.sql(query).fetchall() == [(False,)]
    with pytest.raises(CatalogError, match=r"Refused: CREATE\."):
        zoo.sql("CREATE TABLE t AS SELECT 1")


def test_an_engine_that_broke_is_started_again(zoo: Catalog) -> None:
    assert zoo.sql("SELECT count(*) FROM models").fetchall() == [(5,)]
    for connection in zoo._database._opened.values():
        connection.close()
    assert zoo.sql("SELECT count(*) FROM models").fetchall() == [(5,)]
    assert len(zoo.load("step > 0")) == 4


def test_an_answer_has_the_methods_that_read_and_no_other(zoo: Catalog) -> None:
    answer, relation = zoo.sql("FROM models"), duckdb.sql("SELECT 1 AS a")
    public = {name for name in dir(relation) if not name.startswith("_")}
    assert public >= READING | NARROWS, "of this DuckDB"
    own = {"columns", "fetchall", "to_arrow_table", "limit", "show"}
    for name in public - READING - NARROWS - own:
        with pytest.raises(AttributeError, match="it can only be read"):
            getattr(answer, name)
    for name in (
        "query",
        "create",
        "write_csv",
        "to_parquet",
        "to_table",
        "insert",
        "update",
    ):
        assert not hasattr(answer, name)
    assert isinstance(answer.filter("step > 0"), Answer)
    assert isinstance(answer.project("step").distinct().order("step"), Answer)


def test_expressions_in_the_methods_of_an_answer_change_nothing(
    zoo: Catalog, files: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    before, expected = files(zoo.root), zoo.sql("FROM models").fetchall()
    answer = zoo.sql("FROM models")
    parquet = next((zoo.root / "tensor_stats").iterdir()).resolve()
    for text in (
        "step IN (WITH d AS (COPY (SELECT 1) TO 't') SELECT 1)",
        f"step IN (WITH d AS (COPY (SELECT 1) TO '{parquet}') SELECT 1)",
        "true); COPY (SELECT 1) TO 't'; --",
        "true; DETACH zoo_index",
        "setseed(.5)",
        "write_log('x')",
        "step IN (FROM duckdb_secrets())",
    ):
        for narrow in (answer.filter, answer.project, answer.order, answer.aggregate):
            with pytest.raises(CatalogError):
                narrow(text).fetchall()
    assert zoo.sql("FROM models").fetchall() == expected
    assert files(zoo.root) == before
    assert list(tmp_path.iterdir()) == []


def test_expressions_of_duckdb_pass_the_same_check(zoo: Catalog) -> None:
    answer, text = zoo.sql("FROM models"), duckdb.ConstantExpression("x")
    with pytest.raises(CatalogError, match=r"cannot call write_log\(\)"):
        answer.select(duckdb.FunctionExpression("write_log", text))
    assert len(answer.select(duckdb.FunctionExpression("upper", text))) == 5


@pytest.mark.parametrize(
    "narrow",
    [
        lambda answer: answer.describe(),
        lambda answer: answer.value_counts("zoo"),
        lambda answer: answer.row_number("OVER (PARTITION BY zoo ORDER BY step)"),
        lambda answer: answer.lag("step", "OVER (ORDER BY step)"),
        lambda answer: answer.string_agg("run_id", ","),
        lambda answer: answer.quantile("step", 0.5),
        lambda answer: answer.histogram("step"),
        lambda answer: answer.union(answer).intersect(answer).except_(answer),
        lambda answer: answer.set_alias("a").join(answer.set_alias("b"), "run_id"),
        lambda answer: answer.select_types(["VARCHAR"]).unique("zoo"),
    ],
)
def test_all_that_narrows_is_answered(zoo: Catalog, narrow: Any) -> None:
    answer = zoo.sql("FROM models")
    relation = answer._relation

    def sorted_rows(narrowed: Any) -> list[str]:
        return sorted(map(repr, narrowed.fetchall()))

    assert sorted_rows(narrow(answer)) == sorted_rows(narrow(relation))


def test_a_value_that_python_has_not_is_an_error_with_advice(zoo: Catalog) -> None:
    with pytest.raises(CatalogError, match=r"CAST\(column AS VARCHAR\)"):
        zoo.sql("SELECT INTERVAL '-2147483648' MONTH AS a").fetchall()


@pytest.mark.parametrize(
    "path",
    [
        "'{folder}/link/../outside/a.csv'",
        "read_csv('{folder}/link/../outside/a.csv')",
        "read_csv(['{folder}/a.csv', '{folder}/link/..//outside/a.csv'])",
        "read_text('{folder}/%2e%2e/outside/a.csv')",
        "read_csv('{folder}/' || 'a.csv')",
        "read_csv('{folder}/link/a.csv')",
        "query_table('{folder}/link/../outside/a.csv')",
        "glob('{folder}/../outside/*')",
    ],
)
def test_no_path_leads_out_of_an_allowed_folder(
    zoo: Catalog, tmp_path: Path, path: str
) -> None:
    folder, outside = tmp_path / "allowed", tmp_path / "outside"
    for made in (folder, outside):
        made.mkdir()
        (made / "a.csv").write_text("a\n1\n")
    (folder / "link").symlink_to(outside)
    allowed = catalog.open(zoo.root, allow=[folder])
    assert allowed.sql(f"FROM '{folder}/a.csv'").fetchall() == [(1,)]
    with pytest.raises(CatalogError, match="A query"):
        allowed.sql(f"FROM {path.format(folder=folder)}").fetchall()


def test_a_catalogue_may_be_named_by_a_path_that_goes_up(
    zoo: Catalog, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    here = catalog.open(os.path.relpath(zoo.root, tmp_path))
    for view in ("tensor_stats", "measures", "models"):
        query = f"SELECT count(*) FROM {view}"
        assert here.sql(query).fetchall() == zoo.sql(query).fetchall()
