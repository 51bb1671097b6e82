"""What a query may do: everything that reads, with the answers of plain DuckDB."""

import re
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

import catalog
from catalog import Catalog, CatalogError
from catalog.index import in_place, tables
from catalog.query.check import checked_query

ROOT = Path(__file__).parents[3]

LEGAL = [
    "SELECT 1",
    "SELECT 1;",
    "SELECT 1 -- a comment",
    "/* one */ SELECT /* two */ count(*) FROM models",
    "FROM models",
    "TABLE models",
    "FROM models SELECT run_id WHERE step > 0",
    "(SELECT run_id FROM models)",
    "VALUES (1, 'a'), (2, 'b')",
    "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(i, t)",
    "SELECT DISTINCT zoo FROM runs",
    "SELECT DISTINCT ON (zoo) zoo, run_id FROM runs ORDER BY zoo, run_id",
    "SELECT zoo, count(*), avg(step), max(step) FROM models GROUP BY ALL ORDER BY ALL",
    "SELECT step, count(*) FROM models GROUP BY step HAVING count(*) > 0 ORDER BY 1",
    "SELECT step, zoo, count(*) FROM models GROUP BY ROLLUP (step, zoo) ORDER BY ALL",
    "SELECT step, zoo, grouping(step) FROM models GROUP BY GROUPING SETS ((step), (zoo)) "
    "ORDER BY ALL",
    "SELECT step, zoo, count(*) FROM models GROUP BY CUBE (step, zoo) ORDER BY ALL",
    "SELECT run_id, rank() OVER (PARTITION BY zoo ORDER BY step) FROM models ORDER BY 1",
    "SELECT run_id, lag(step, 1, -1) OVER w, sum(step) OVER w FROM models WINDOW w AS "
    "(ORDER BY step ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) ORDER BY 1",
    "FROM models QUALIFY step = max(step) OVER (PARTITION BY zoo)",
    "SELECT count(*) FILTER (WHERE step > 10), sum(DISTINCT step) FROM models",
    "SELECT list(run_id ORDER BY step DESC) FROM models",
    "WITH a AS (FROM models), b AS MATERIALIZED (FROM a WHERE step > 0) FROM b",
    "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 5) FROM r",
    "WITH RECURSIVE r(i, j) USING KEY (i) AS (SELECT 1, 1 UNION SELECT 1, j + 1 FROM r "
    "WHERE j < 5) FROM r",
    "SELECT run_id FROM models UNION SELECT zoo FROM runs ORDER BY 1",
    "SELECT run_id FROM models UNION ALL BY NAME SELECT zoo FROM runs ORDER BY ALL",
    "SELECT run_id FROM models INTERSECT SELECT run_id FROM runs ORDER BY 1",
    "SELECT run_id FROM models EXCEPT SELECT 'run-0' ORDER BY 1",
    "SELECT m.run_id, r.zoo FROM models m JOIN runs r USING (run_id) ORDER BY 1",
    "SELECT count(*) FROM models a, models b WHERE a.step < b.step",
    "SELECT count(*) FROM models LEFT JOIN runs ON models.run_id = runs.run_id",
    "SELECT count(*) FROM models SEMI JOIN runs USING (run_id)",
    "SELECT count(*) FROM models ANTI JOIN runs USING (run_id)",
    "SELECT count(*) FROM models CROSS JOIN range(3)",
    "SELECT count(*) FROM models POSITIONAL JOIN range(5) t(i)",
    "SELECT a.run_id, b.run_id FROM models a ASOF JOIN models b ON a.step > b.step",
    "SELECT m.run_id, t.i FROM models m, LATERAL (SELECT m.step + 1 AS i) t ORDER BY 1",
    "SELECT run_id, (SELECT max(step) FROM models b WHERE b.zoo = a.zoo) FROM models a "
    "ORDER BY 1",
    "SELECT run_id FROM models WHERE step IN (SELECT max(step) FROM models)",
    "SELECT run_id FROM models WHERE step >= ALL (SELECT step FROM models)",
    "SELECT EXISTS (FROM models WHERE step = 10)",
    "SELECT * EXCLUDE (zoo) FROM runs ORDER BY run_id",
    "SELECT * REPLACE (upper(zoo) AS zoo) FROM runs ORDER BY run_id",
    "SELECT * RENAME (zoo AS collection) FROM runs ORDER BY run_id",
    "SELECT COLUMNS('.*_id') FROM runs ORDER BY run_id",
    "SELECT max(COLUMNS(*)) FROM models",
    "SELECT min(COLUMNS(lambda c: c LIKE 's%')) FROM models",
    "SELECT models.* LIKE 's%' FROM models ORDER BY ALL",
    "SELECT run_id AS 'a name', #1 FROM models ORDER BY 1",
    "SELECT [1, 2, 3][2], [1, 2, 3][1:2], {'a': 1, 'b': 'x'}.b, MAP {'k': 1}['k'], (1, 2)",
    "SELECT list_transform([1, 2], lambda x: x + 1), list_filter([1, 2], lambda x: x > 1)",
    "SELECT [x * 2 FOR x IN [1, 2, 3] IF x > 1], list_reduce([1, 2], lambda a, b: a + b)",
    "SELECT unnest([1, 2, 3]), unnest({'a': 1, 'b': 2})",
    "SELECT t.i FROM unnest([3, 1]) AS t(i) ORDER BY 1",
    "SELECT '{\"a\": [1, 2]}'::JSON -> '$.a[1]', '{\"a\": 1}' ->> 'a'",
    "FROM json_each('{\"a\": 1}') SELECT key, value",
    "SELECT CASE WHEN step > 10 THEN 'late' ELSE 'early' END, if(step > 10, 1, 0), "
    "coalesce(NULL, 1), nullif(1, 1), ifnull(NULL, 2) FROM models ORDER BY ALL",
    "SELECT step::VARCHAR, CAST(step AS DECIMAL(10, 2)), TRY_CAST('x' AS INTEGER), "
    "TRY(1 / 0) FROM models ORDER BY 1",
    "SELECT 1::TINYINT, 'a'::ENUM('a', 'b'), [1]::DOUBLE[], [1, 2]::INTEGER[2], "
    "{'a': 1}::STRUCT(a BIGINT), NULL::MAP(VARCHAR, INTEGER), 'x'::BLOB, '101'::BIT",
    "SELECT DATE '2020-02-29' + INTERVAL 1 YEAR, (TIMESTAMP '2020-01-01 10:00' AT TIME "
    "ZONE 'UTC')::VARCHAR, extract(year FROM DATE '2020-01-01'), "
    "date_trunc('month', DATE '2020-02-29')",
    "SELECT run_id LIKE 'run%', run_id ILIKE 'RUN%', run_id SIMILAR TO 'run.*', "
    "run_id ~ 'r.*', run_id NOT LIKE 'x', run_id GLOB 'run*' FROM models ORDER BY run_id",
    "SELECT step BETWEEN 1 AND 20, step NOT IN (1, 2), step IS NOT NULL, step IS DISTINCT "
    "FROM 10, NOT step > 1, -step, +step, step % 3, step // 3, 2 ** 3, 5! FROM models "
    "ORDER BY ALL",
    "SELECT 'a' || 'b', upper('a'), substring('abc' FROM 2 FOR 1), trim(' a '), "
    "position('b' IN 'abc'), overlay('abc' PLACING 'x' FROM 2), 'a' COLLATE NOCASE = 'A'",
    "SELECT run_id FROM models ORDER BY step DESC NULLS LAST, run_id LIMIT 2 OFFSET 1",
    "SELECT count(*) FROM (FROM models LIMIT 50%)",
    "SELECT count(*) FROM (FROM models USING SAMPLE 3 ROWS)",
    "SELECT count(*) FROM models TABLESAMPLE reservoir(2 ROWS) REPEATABLE (1)",
    "SELECT count(DISTINCT t) FROM (SELECT random() AS t FROM range(9))",
    "SELECT length(uuid()::VARCHAR), now() IS NOT NULL, current_date IS NOT NULL",
    "SELECT mode(zoo), median(step), quantile_cont(step, 0.3), stddev(step), "
    "corr(step, step), arg_max(run_id, step), histogram(step), "
    "approx_count_distinct(run_id) FROM models",
    "SELECT isfinite(1.0::DOUBLE), isnan('nan'::DOUBLE), round(1.25, 1), greatest(1, 2)",
    "PIVOT models ON step USING count(*) GROUP BY zoo",
    "PIVOT models ON step IN (0, 10) USING count(*) AS n, max(run_id) AS m GROUP BY zoo",
    "FROM models PIVOT (count(*) FOR step IN (0, 10) GROUP BY zoo)",
    "UNPIVOT (SELECT run_id, step, 1::BIGINT x FROM models) ON step, x INTO NAME n VALUE v "
    "ORDER BY ALL",
    "UNPIVOT (SELECT step, 2::BIGINT AS x FROM models) ON COLUMNS(*) ORDER BY ALL",
    "FROM (SELECT run_id, step FROM models) UNPIVOT (v FOR n IN (step)) ORDER BY ALL",
    "DESCRIBE models",
    "DESC runs",
    "DESCRIBE SELECT run_id, step FROM models",
    "SELECT column_name FROM (DESCRIBE models)",
    "SUMMARIZE models",
    "SUMMARIZE SELECT step FROM models",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "SHOW models",
    "FROM (SHOW TABLES)",
    "EXPLAIN SELECT * FROM models",
    "EXPLAIN (FORMAT json) FROM models",
    "SELECT table_name FROM information_schema.tables WHERE table_name = 'models'",
    "SELECT table_name FROM duckdb_tables() WHERE table_name = 'runs'",
    "SELECT column_name FROM duckdb_columns() WHERE table_name = 'runs' ORDER BY 1",
    "FROM query_table('models')",
    "FROM histogram(models, step)",
    "SELECT * FROM range(3) UNION ALL SELECT * FROM generate_series(5, 7)",
    "SELECT count(*) FROM tensor_stats",
    "SELECT count(*) FROM models JOIN tensor_stats USING (shard, row)",
    "SELECT * FROM tensors ORDER BY ALL",
    "SELECT shard FROM shards",
    "SELECT count(*) FROM measures",
    "SELECT count(*) FROM zoo_index.main.runs",
    "SELECT count(*) FROM main.runs",
    'SELECT "run_id" FROM "models" ORDER BY "step"',
    "SELECT 'COPY x TO y; DROP TABLE models' AS harmless",
    "SELECT $$it's; fine$$, E'tab\\t', 'é', 1e3, 0x1F, 1_000",
    "SELECT version(), typeof(1), current_schema()",
]

MOVES = ("SAMPLE", "EXPLAIN", "random", "now()", "SHOW ALL", "version")
"""What says where a database lies, or is not the same twice."""


@pytest.fixture(scope="module")
def asked(
    new_zoo: Any, networks: Any, commit: Any, small_layout: Any, measure: Any
) -> Catalog:
    """Three versions: five networks; then one more, and a measure."""
    zoo = new_zoo()
    commit(zoo, networks(small_layout, 5))
    commit(zoo, networks(small_layout, 1, seed=1, prefix="late"), zoo=["later"])
    measure(zoo, [{"run_id": "run-0", "step": 0, "sharpness": 2.5}])
    return zoo.refreshed()


@pytest.fixture(scope="module")
def plain(asked: Catalog) -> duckdb.DuckDBPyConnection:
    """The same tables in a database of its own, without any check or lock."""
    connection = duckdb.connect()
    tables.build_index(connection, asked.root, asked.snapshot.manifests)
    for view in ("tensor_stats", "measures"):
        paths = [str(path) for path in sorted((asked.root / view).glob("*"))]
        connection.execute(f"CREATE VIEW {view} AS FROM read_parquet({paths})")
    return connection


@pytest.fixture(scope="module")
def others(asked: Catalog, tmp_path_factory: pytest.TempPathFactory) -> list[Catalog]:
    """Its second version, and it as one whose big tables stay in Parquet."""
    root = tmp_path_factory.mktemp("large")
    leave = shutil.ignore_patterns("cache")
    shutil.copytree(asked.root, root, ignore=leave, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_place, "STORED_CHECKPOINTS", 0)
        large = catalog.open(root)
        large.sql("FROM models")
    return [catalog.open(asked.root, at=2), large]


def answer(relation: duckdb.DuckDBPyRelation, *, ordered: bool = False) -> list[Any]:
    rows = relation.fetchall()
    return [relation.columns, rows if ordered else sorted(rows, key=repr)]


@pytest.mark.parametrize("query", LEGAL)
def test_what_reads_is_answered_as_duckdb_answers_it(
    asked: Catalog, plain: duckdb.DuckDBPyConnection, query: str
) -> None:
    ordered = "ORDER BY" in query
    found = answer(asked.sql(query), ordered=ordered)
    assert found[0]
    if not any(mark in query for mark in (*MOVES, "TABLES")):
        expected = plain.sql(query.replace("zoo_index.", ""))
        assert repr(found) == repr(answer(expected, ordered=ordered))


@pytest.mark.parametrize("query", LEGAL)
def test_old_versions_and_large_catalogues_answer_too(
    asked: Catalog, others: list[Catalog], query: str
) -> None:
    """All columns are in a version before the measure; it has the rows of models."""
    expected = answer(asked.sql(query))
    for zoo in others:
        found = answer(zoo.sql(query))
        assert len(found[0]) > 0
        if zoo is others[1]:
            assert found[0] == expected[0]
            if not any(mark in query for mark in (*MOVES, "TABLES", "SUMMARIZE", "models")):
                assert found[1] == expected[1]


def test_a_large_catalogue_lists_its_views(others: list[Catalog]) -> None:
    listed = {row[0] for row in others[1].sql("SHOW TABLES").fetchall()}
    assert {"runs", "checkpoints", "models"} <= listed


def test_documented_queries_pass(asked: Catalog) -> None:
    text = (ROOT / "README.md").read_text() + (ROOT / "Makefile").read_text()
    queries = re.findall(r'phasezoo sql "([^"]+)"', text)
    queries += re.findall(r'\.sql\("""(.+?)"""\)', text, re.DOTALL)
    queries += re.findall(r'\.sql\("([^"]+)"\)', text)
    assert len(queries) > 8
    connection = duckdb.connect()
    assert [checked_query(connection, query) for query in queries] == queries


def test_a_chain_of_operators_may_be_long_but_not_endless(asked: Catalog) -> None:
    count = " + ".join(["step"] * 150)
    assert asked.sql(f"SELECT max({count}) FROM models").fetchall() == [(150 * 40,)]
    for n in (900, 5000):
        with pytest.raises(CatalogError, match=r"nests too deeply|SQL error"):
            asked.sql(f"SELECT {' + '.join(['step'] * n)} FROM models")


def test_relations_can_be_chained(asked: Catalog) -> None:
    relation = asked.sql("FROM models").filter("step > 0").project("run_id, step")
    assert relation.order("step DESC").limit(1).fetchall() == [("run-4", 40)]
    assert relation.aggregate("count(*)").fetchall() == [(4,)]
    assert relation.df()["step"].tolist() == [10, 20, 30, 40]
    assert asked.select(relation).tensor("fc.weight").shape == (4, 4, 3)
