"""No query changes a byte, nor what the next one answers: hundreds that try to.

In statements ROOT stands for the catalogue, OUT for a folder with table.csv and
precious.txt in it.
"""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

import catalog
from catalog import Catalog, CatalogError
from catalog.console.program import main
from catalog.query.functions import FUNCTIONS
from catalog.query.refusal import sql_error

BODIES = [
    "COPY (SELECT 1) TO 'ROOT/HEAD'",
    "COPY (SELECT 1) TO 'ROOT/HEAD' (FORMAT csv, USE_TMP_FILE false)",
    "COPY models TO 'OUT/new.parquet' (FORMAT parquet)",
    "COPY (FROM models) TO 'OUT/parts' (FORMAT csv, PARTITION_BY (run_id))",
    "COPY (SELECT 1) TO 'OUT/precious.txt' (FORMAT csv, USE_TMP_FILE false)",
    "INSERT INTO models SELECT * FROM models",
    "INSERT INTO runs (run_id) VALUES ('made up') RETURNING *",
    "UPDATE models SET step = 7 RETURNING *",
    "DELETE FROM models",
    "DELETE FROM models WHERE step > 0 RETURNING run_id",
]
"""What DuckDB takes as the body of a CTE."""

WRAPS = [
    "{}",
    "{};",
    "/* a comment */ {} -- and one more",
    "SELECT 1; {}",
    "{}; SELECT 1",
    "FROM models; {}; FROM models",
    "WITH d AS ({}) SELECT 1",
    "WITH d AS ({}) FROM models",
    "WITH a AS (SELECT 1), d AS MATERIALIZED ({}) FROM a",
    "WITH RECURSIVE d AS ({}) SELECT 1",
    "SELECT * FROM (WITH d AS ({}) SELECT 1)",
    "SELECT (WITH d AS ({}) SELECT 1)",
    "SELECT 1 WHERE EXISTS (WITH d AS ({}) SELECT 1)",
    "FROM models WHERE step IN (WITH d AS ({}) SELECT 1)",
    "SELECT 1 UNION ALL (WITH d AS ({}) SELECT 1)",
    "PIVOT (WITH d AS ({}) FROM models) ON step USING count(*)",
    "PIVOT (WITH d AS ({}) FROM models) ON step IN (0, 10) USING count(*)",
    "WITH d AS ({}) PIVOT models ON step USING count(*)",
    "WITH d AS ({}), p AS (PIVOT models ON step USING count(*)) FROM p",
    "EXPLAIN {}",
    "EXPLAIN ANALYZE {}",
    "EXPLAIN (ANALYZE, FORMAT json) {}",
    "EXPLAIN ANALYZE WITH d AS ({}) SELECT 1",
    "DESCRIBE {}",
    "SUMMARIZE {}",
    "DESCRIBE WITH d AS ({}) SELECT 1",
    "SUMMARIZE WITH d AS ({}) SELECT 1",
    "PREPARE p AS {}",
    "CREATE TABLE t AS WITH d AS ({}) SELECT 1",
]

OTHERS = [
    # schemas and their objects
    "CREATE TABLE t (i INTEGER)",
    "CREATE TABLE t AS SELECT 1 AS i",
    "CREATE OR REPLACE TABLE models AS SELECT 1 AS i",
    "CREATE TEMP TABLE models AS SELECT 1 AS i",
    "CREATE TEMPORARY TABLE IF NOT EXISTS t (i INTEGER)",
    "CREATE VIEW v AS SELECT 1 AS i",
    "CREATE OR REPLACE VIEW models AS SELECT 1 AS i",
    "CREATE TEMP VIEW models AS SELECT 1 AS i",
    "CREATE OR REPLACE TEMP VIEW runs AS SELECT 1 AS i",
    "CREATE MACRO count(x) AS 42",
    "CREATE TEMP MACRO avg(x) AS 42",
    "CREATE FUNCTION f(x) AS x + 1",
    "CREATE MACRO t() AS TABLE SELECT 1",
    "CREATE SEQUENCE s",
    "CREATE TEMP SEQUENCE s",
    "CREATE TYPE mood AS ENUM ('sad', 'happy')",
    "CREATE TEMP TYPE mood AS ENUM ('sad', 'happy')",
    "CREATE SCHEMA s",
    "CREATE INDEX i ON runs (run_id)",
    "CREATE SECRET s (TYPE s3, KEY_ID 'x', SECRET 'y')",
    "CREATE PERSISTENT SECRET s (TYPE s3, KEY_ID 'x', SECRET 'y')",
    "DROP TABLE models",
    "DROP VIEW IF EXISTS models",
    "DROP SCHEMA main CASCADE",
    "DROP SECRET s",
    "ALTER TABLE models RENAME TO other",
    "ALTER TABLE models ADD COLUMN c INTEGER",
    "ALTER VIEW models RENAME TO other",
    "COMMENT ON TABLE models IS 'mine'",
    "TRUNCATE models",
    "MERGE INTO models USING runs ON models.run_id = runs.run_id WHEN MATCHED THEN DELETE",
    "INSERT OR REPLACE INTO runs SELECT * FROM runs",
    "INSERT INTO models VALUES (1) ON CONFLICT DO NOTHING",
    "COPY runs FROM 'OUT/table.csv'",
    "COPY FROM DATABASE zoo_index TO memory",
    "EXPORT DATABASE 'OUT/export'",
    "IMPORT DATABASE 'OUT/export'",
    # databases and what is searched
    "ATTACH ':memory:' AS other",
    "ATTACH 'OUT/new.duckdb' AS other",
    "ATTACH OR REPLACE ':memory:' AS zoo_index",
    "DETACH zoo_index",
    "DETACH DATABASE IF EXISTS zoo_index",
    "USE memory",
    "USE temp",
    "USE system.main",
    "CHECKPOINT",
    "FORCE CHECKPOINT zoo_index",
    "VACUUM",
    "VACUUM ANALYZE models",
    "ANALYZE",
    # settings
    "SET search_path = 'temp'",
    "SET schema = 'temp'",
    "SET threads = 1",
    "SET SESSION TimeZone = 'Asia/Tokyo'",
    "SET GLOBAL memory_limit = '100MB'",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "SET allowed_paths = ['/']",
    "SET default_order = 'DESC'",
    "SET VARIABLE a = 1",
    "RESET threads",
    "RESET VARIABLE a",
    "RESET search_path",
    "PRAGMA threads = 1",
    "PRAGMA enable_profiling",
    "PRAGMA enable_verification",
    "PRAGMA disable_optimizer",
    "PRAGMA add_parquet_key('k', '0123456789112345')",
    "PRAGMA force_checkpoint",
    "PRAGMA copy_database('a', 'b')",
    "PRAGMA import_database('OUT')",
    "PRAGMA database_list",
    "PRAGMA table_info('models')",
    "CALL pragma_version()",
    "CALL enable_logging()",
    "CALL enable_logging(storage_path = 'OUT/logs')",
    "CALL disable_logging()",
    "CALL truncate_duckdb_logs()",
    "CALL force_checkpoint()",
    "CALL enable_profiling()",
    # transactions, prepared statements, extensions
    "BEGIN",
    "BEGIN TRANSACTION READ ONLY",
    "COMMIT",
    "ROLLBACK",
    "ABORT",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "EXECUTE p(1)",
    "DEALLOCATE p",
    "INSTALL httpfs",
    "FORCE INSTALL httpfs FROM community",
    "LOAD httpfs",
    "LOAD 'OUT/extension.duckdb_extension'",
    "UPDATE EXTENSIONS",
    # functions that change something, or what is answered later
    "SELECT setseed(0.5)",
    "SELECT nextval('s')",
    "SELECT currval('s')",
    "SELECT setval('s', 3)",
    "SELECT write_log('x')",
    "SELECT system.main.write_log('x')",
    "SELECT run_id.write_log() FROM models",
    "SELECT list_transform(['x'], lambda x: write_log(x))",
    "SELECT WRITE_LOG('x') FROM models ORDER BY write_log('y')",
    "SELECT sum(step) FILTER (WHERE write_log('x') IS NULL) FROM models",
    "SELECT row_number() OVER (ORDER BY write_log('x')) FROM models",
    "FROM models QUALIFY setseed(0.1) IS NULL",
    "SELECT sleep_ms(10)",
    "SELECT pg_sleep(1)",
    "FROM checkpoint()",
    "FROM force_checkpoint()",
    "FROM enable_logging()",
    "FROM disable_logging()",
    "FROM enable_profiling()",
    "FROM disable_profiling()",
    "FROM truncate_duckdb_logs()",
    # functions that run hidden SQL, or read what is no table
    "FROM query('SELECT write_log(''x'')')",
    "FROM query('COPY (SELECT 1) TO ''OUT/new.csv''')",
    "SELECT json_serialize_plan('SELECT 1')",
    "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "PRAGMA json_execute_serialized_sql('{}')",
    "FROM arrow_scan(1, 2, 3)",
    "FROM arrow_scan_dumb(1, 2, 3)",
    "FROM python_arrow_scan(1, 2, 3)",
    "FROM pandas_scan(1)",
    "FROM python_map_function(1)",
    "FROM seq_scan('models')",
    "FROM duckdb_secrets()",
    "FROM which_secret('s3://a/b', 's3')",
    "FROM duckdb_logs()",
    "FROM duckdb_prepared_statements()",
    "FROM read_duckdb('OUT/new.duckdb')",
    "SELECT getenv('HOME')",
    "SELECT getvariable('a')",
    "SELECT no_such_function(1)",
    # no statement, or what no statement can be
    "",
    ";",
    "-- nothing",
    "SELECT",
    "SELECT $1",
    "SELECT ?",
    "FROM models WHERE step = $step",
    "SELECT 1; SELECT 2",
    "SELECT 1;; SELECT 2",
    "EXPLAIN",
    "EXPLAIN EXPLAIN SELECT 1",
    "EXPLAIN SET threads = 1",
    "EXPLAIN ANALYZE SELECT setseed(0.5)",
    "PIVOT models ON setseed(step) USING count(*)",
    "PIVOT models ON step USING count(*); DROP TABLE models",
    "SELECT 1 INTO t FROM models",
    "'\ud800'",
]

STATEMENTS = [
    *(wrap.format(body) for body in BODIES for wrap in WRAPS),
    *OTHERS,
]

QUESTIONS = [
    "SELECT run_id, step, zoo FROM models ORDER BY ALL",
    "SELECT count(*), avg(step), count(DISTINCT run_id) FROM models",
    "FROM (SHOW TABLES) ORDER BY ALL",
    "SELECT name, replace(value, current_setting('temp_directory'), '') "
    "FROM duckdb_settings() WHERE name NOT LIKE '%memory%' ORDER BY ALL",
    "SELECT current_schema(), current_schemas(true), current_setting('search_path')",
    "SELECT database_name, readonly FROM duckdb_databases() ORDER BY ALL",
    "SELECT count(*) FROM duckdb_functions()",
    "SELECT count(*) FROM tensor_stats",
]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "table.csv").write_text("a\n1\n")
    (folder / "precious.txt").write_text("precious\n")
    return folder


@pytest.fixture(scope="module")
def attacked(
    new_zoo: Any, networks: Any, commit: Any, small_layout: Any, measure: Any
) -> Catalog:
    zoo = new_zoo()
    commit(zoo, networks(small_layout, 5))
    measure(zoo, [{"run_id": "run-0", "step": 0, "sharpness": 2.5}])
    return zoo.refreshed()


@pytest.fixture
def state(
    attacked: Catalog, outside: Path, tmp_path: Path, monkeypatch: Any
) -> Callable[[], dict[str, str]]:
    """Hashes of every file of the catalogue, outside of it, and where we stand."""
    monkeypatch.chdir(tmp_path)

    def read() -> dict[str, str]:
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            if path.is_file()
            else "folder"
            for folder in (attacked.root, outside, tmp_path)
            for path in folder.rglob("*")
        }

    return read


def answers(zoo: Catalog) -> list[Any]:
    return [zoo.sql(query).fetchall() for query in QUESTIONS]


def written(statement: str, root: Path, outside: Path) -> str:
    return statement.replace("ROOT", str(root)).replace("OUT", str(outside))


def test_there_are_more_than_two_hundred() -> None:
    assert len(set(STATEMENTS)) == len(STATEMENTS) == len(BODIES) * len(WRAPS) + len(OTHERS)
    assert len(STATEMENTS) > 400


def test_no_statement_passes_the_check(
    attacked: Catalog, outside: Path, state: Callable[[], dict[str, str]]
) -> None:
    """Even where every folder is allowed, so that no other lock is left."""
    zoo = catalog.open(attacked.root, allow=[attacked.root, outside])
    expected, before, passed = answers(zoo), state(), []
    for statement in STATEMENTS:
        with contextlib.suppress(CatalogError):
            zoo.sql(written(statement, attacked.root, outside)).fetchall()
            passed.append(statement)
    assert passed == []
    assert state() == before
    assert answers(zoo) == expected


BY_THE_CHECK_ALONE = ("ATTACH ':memory:'", "ATTACH OR REPLACE ':memory:'")
"""What the locked connection lets pass; it can be named, but it hides nothing."""


def test_the_lock_stands_behind_the_check(
    attacked: Catalog, outside: Path, state: Callable[[], dict[str, str]]
) -> None:
    """Without the check, each statement is run on a connection of its own."""
    zoo = catalog.open(attacked.root)
    expected, before = answers(zoo), state()
    for statement in STATEMENTS:
        text = written(statement, attacked.root, outside)
        if text.startswith((*BY_THE_CHECK_ALONE, "FROM seq_scan", "SELECT pg_sleep")):
            continue
        with contextlib.suppress(duckdb.Error, UnicodeError, RuntimeError):
            zoo._database.connection(text).execute(text)
    assert state() == before
    assert answers(zoo) == expected
    assert answers(catalog.open(attacked.root)) == expected


def test_errors_say_what_is_refused_and_what_to_paste(attacked: Catalog) -> None:
    for statement, reason in (
        ("COPY models TO 'x.csv'", r"Refused: COPY\. .*phasezoo sql QUERY --to FILE\.csv"),
        ("WITH d AS (DELETE FROM models) SELECT 1", r"Refused: DELETE\. A query is one"),
        ("SELECT 1; SELECT 2", "Refused: 2 statements"),
        ("", "The query is empty"),
        ("-- nothing", "The query is empty"),
        ("FROM duckdb_logs", "cannot read duckdb_logs"),
        ("SET threads = 1", r"Refused: SET\."),
        ("EXPLAIN ANALYZE COPY models TO 'x.csv'", r"Refused: COPY\."),
        ("SELECT setseed(0.5)", r"cannot call setseed\(\): only functions that read"),
        ("SELECT averge(step) FROM models", r"cannot call averge\(\).*Closest: .*"),
        ("SELECT $1", "a parameter without a value"),
        ("SELEC 1", r"SQL error\. Parser Error: .*SELEC"),
        ("SELECT no_such FROM models", r"SQL error\. Binder Error: .*no_such"),
    ):
        with pytest.raises(CatalogError, match=rf"(?s){reason}"):
            attacked.sql(statement)


def test_errors_show_no_text_of_ours_and_advise_nothing_that_is_refused(
    attacked: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    for query, reason in (
        ("SELECT (run_id || 'x')::INT FROM models", "Could not convert string"),
        ("SELECT " + "1 + " * 1500 + "1", "Max expression depth"),
    ):
        for more in ([], ["--json"]):
            with pytest.raises(SystemExit):
                main(["sql", query, "--catalog", str(attacked.root), *more])
            shown = capsys.readouterr().err
            assert reason in shown
            assert "LINE" not in shown
            assert "SET" not in shown


def test_names_of_our_own_are_no_tables(attacked: Catalog) -> None:
    """Variables of the program that asks cannot be read, nor files by their name."""
    for name in ("connection", "text", "query", "duckdb", "self", "'HEAD'", "'*.parquet'"):
        with pytest.raises(CatalogError, match=r"does not exist|not part of the catalogue"):
            attacked.sql(f"FROM {name}")


def test_every_function_of_duckdb_was_looked_at() -> None:
    """What may be called is there, and does not change anything as far as DuckDB says."""
    rows = duckdb.sql(
        "SELECT DISTINCT lower(function_name), function_type, stability "
        "FROM duckdb_functions()"
    ).fetchall()
    volatile = {name for name, _, stability in rows if stability == "VOLATILE"}
    harmless = {
        "current_query", "error", "gen_random_uuid", "random", "stats", "uuid", "uuidv4",
        "uuidv7", "vector_type",
    }  # fmt: skip
    assert FUNCTIONS & volatile == harmless
    pure = {
        name
        for name, kind, _ in rows
        if kind in ("aggregate", "window")
        or (kind == "scalar" and not name.startswith("_"))
    }
    missing = {n for n in pure - FUNCTIONS - volatile if "collate" not in n}
    assert missing == LEFT_OUT


LEFT_OUT = {
    "!=", "<", "<=", "=", ">", ">=",
    "bitstring_byte_comparable", "cast_to_type", "combine", "combine_aggr",
    "create_sort_key", "finalize", "get_type", "getvariable", "index_key", "invoke",
    "is distinct from", "is not distinct from", "json_deserialize_sql",
    "json_serialize_plan", "make_type", "parse_duckdb_log_message", "replace_type",
    "st_crs", "st_setcrs", "timetz_byte_comparable", "to_aggregate_state", "unpivot_list",
    "variant_bytes_to_variant", "variant_comparator", "variant_normalize",
    "variant_to_parquet_variant",
}  # fmt: skip
"""Functions without a use in a query: DuckDB's own plumbing."""


@pytest.mark.parametrize("query", [
    'SELECT "="(row(1, 2), [1, 2])', 'EXPLAIN SELECT "<="(union_value(k := 1), [1, 2])',
    'SELECT list_transform([1], x -> ">"(x, [2]))',
])  # fmt: skip
def test_a_comparison_is_no_function(zoo: Catalog, query: str) -> None:
    """Without the casts of the infix one it ends the process."""
    with pytest.raises(CatalogError, match=r"cannot call [=<>]+\(\)"):
        zoo.sql(query)
    assert zoo.sql("SELECT (1, 2) = (1, 2)").fetchall() == [(True,)]


@pytest.mark.parametrize("query", [
    "FROM " + "(" * 800 + "models" + ")" * 800, "SELECT 1" + " UNION ALL SELECT 1" * 5000,
    "SELECT '" + "x" * 2_000_000 + "'",
])  # fmt: skip
def test_what_takes_the_parser_minutes_is_refused(zoo: Catalog, query: str) -> None:
    with pytest.raises(CatalogError, match="at most 1,000,000, 300 and 1,000 are allowed"):
        zoo.sql(query)


def test_brackets_within_texts_do_not_count(zoo: Catalog) -> None:
    text = "(" * 400 + " UNION" * 1200
    assert zoo.sql(f"SELECT '{text}' AS a -- {text}").fetchall() == [(text,)]


def test_what_duckdb_says_to_its_makers_is_left_out() -> None:
    error = duckdb.InternalException(
        "INTERNAL Error: bad.\n\nStack Trace:\n\n0 duckdb::f() + 1\n1 g()\n\n"
        "This error signals an assertion failure within DuckDB."
    )
    assert str(sql_error(error)) == "SQL error. INTERNAL Error: bad."
