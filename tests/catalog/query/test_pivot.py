"""PIVOT without its values gives what DuckDB gives when it looks them up itself."""

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from catalog import CatalogError
from catalog.query.allowed_nodes import check_kinds
from catalog.query.check import checked_query
from catalog.query.pivot import with_values

TABLE = """CREATE TABLE models AS SELECT * FROM (VALUES
    (1, 'x', 10, 2.5), (2, 'it''s', 20, NULL), (NULL, 'x', 30, 0.1), (1, 'it''s', 40, 2.5),
    (10, NULL, 50, -1)) v(a, b, n, d)"""

PIVOTS = [
    "PIVOT models ON a USING sum(n)",
    "pivot models on a using sum(n);",
    "PIVOT models ON a",
    "PIVOT models ON a, b USING sum(n)",
    "PIVOT models ON a, b IN ('x', 'y') USING sum(n)",
    "PIVOT models ON a IN (1, 2), b USING sum(n)",
    "PIVOT models ON (a, b) USING sum(n)",
    "PIVOT models ON d USING sum(n), count(*) AS c GROUP BY b",
    "PIVOT models ON a + 1 USING sum(n) GROUP BY b",
    "PIVOT models ON b || '-' || a USING sum(n) GROUP BY d",
    "PIVOT models ON a > 1 AND b IS NOT NULL USING count(*) GROUP BY d",
    "PIVOT models ON CASE WHEN a IN (1) THEN 'in' ELSE 'out' END USING count(*) GROUP BY d",
    "PIVOT models ON lower(b), a IN (1, 2) USING sum(n) GROUP BY d",
    "PIVOT models ON a NOT IN (1, 2) USING sum(n) GROUP BY d",
    "PIVOT models /* , */ ON /* IN ('x') */ b -- ON a\n USING sum(n)",
    "PIVOT (FROM models WHERE a > 1) ON a USING sum(n)",
    "PIVOT (FROM models WHERE false) ON a USING sum(n)",
    "PIVOT (SELECT NULL::INTEGER AS a, n, b FROM models) ON a USING sum(n)",
    "PIVOT (FROM models JOIN models o USING (n) SELECT models.*) ON a USING sum(n)",
    "PIVOT (VALUES ('é', 1), ('ß', 2), ('', 3)) t(k, v) ON k USING sum(v)",
    "PIVOT models ON a USING sum(n) ORDER BY b DESC LIMIT 2",
    "PIVOT models ON a USING sum(n) GROUP BY b ORDER BY ALL",
    "PIVOT_WIDER models ON a USING sum(n)",
    "WITH c AS (FROM models WHERE a < 3) PIVOT c ON a USING sum(n)",
    'PIVOT (PIVOT models ON a USING sum(n) GROUP BY b) ON b USING max("1")',
    "SELECT * FROM (PIVOT models ON a USING sum(n)) UNION ALL SELECT 'b', 2, 3, 4, 5",
    "SELECT count(*) FROM (PIVOT models ON a USING sum(n)) p, (PIVOT models ON b) q",
    "SUMMARIZE PIVOT models ON a USING sum(n)",
    "DESCRIBE PIVOT models ON a USING sum(n)",
    "EXPLAIN PIVOT models ON a USING sum(n)",
    "EXPLAIN (FORMAT json) PIVOT models ON a USING sum(n)",
    "SELECT '$ PIVOT x ON y', $$ PIVOT x ON y $$, * FROM (PIVOT models ON a USING sum(n))",
    "FROM models PIVOT (sum(n) FOR a IN (1, 2)) AS p JOIN models x ON p.b = x.b "
    "SELECT p.*, x.n",
    "FROM (PIVOT models ON b USING sum(n)) SELECT COLUMNS(*)::VARCHAR",
]


OF_OTHERS = [
    (
        "WITH c AS (FROM models WHERE a < 3), p AS (PIVOT c ON a {}USING sum(n)) FROM p",
        ["IN (1, 2) "],
    ),
    (
        "WITH p AS (PIVOT models ON a {}USING sum(n) GROUP BY b), q AS "
        '(PIVOT p ON b {}USING max("1")) FROM q',
        ["IN (1, 10, 2) ", "IN ('it''s', 'x') "],
    ),
    (
        "WITH c AS (FROM models) SELECT * FROM "
        "(WITH d AS (FROM c WHERE a = 1) PIVOT d ON b {}USING sum(n))",
        ["IN ('it''s', 'x') "],
    ),
    (
        "WITH c AS (SELECT 3 AS b) SELECT * FROM "
        "(WITH c AS (FROM models WHERE a = 1) PIVOT c ON b {}USING sum(n))",
        ["IN ('it''s', 'x') "],
    ),
]
"""They read CTEs, of which DuckDB itself finds no values everywhere; and the values."""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(TABLE)
        yield connection


def answer(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[list[str], Any]:
    relation = connection.sql(query)
    return relation.columns, sorted(relation.fetchall(), key=repr)


@pytest.mark.parametrize("query", PIVOTS)
def test_the_answer_is_that_of_duckdb(
    connection: duckdb.DuckDBPyConnection, query: str
) -> None:
    expected = answer(connection, query)
    own = connection.cursor()
    assert answer(own, checked_query(own, query)) == expected


@pytest.mark.parametrize(("query", "values"), OF_OTHERS)
def test_the_answer_is_that_with_the_values_written(
    connection: duckdb.DuckDBPyConnection, query: str, values: list[str]
) -> None:
    own = connection.cursor()
    without = checked_query(own, query.format(*[""] * len(values)))
    assert answer(own, without) == answer(connection, query.format(*values))


def test_values_are_looked_up_by_a_checked_query(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    for query, reason in (
        ("PIVOT models ON write_log(b) USING sum(n)", r"cannot call write_log\(\)"),
        ("PIVOT (WITH d AS (DELETE FROM models) FROM models) ON a", "Refused: DELETE"),
        ("WITH d AS (DELETE FROM models) PIVOT models ON a", "Refused: DELETE"),
    ):
        with pytest.raises(CatalogError, match=reason):
            checked_query(connection, query)
    assert connection.sql("SELECT count(*) FROM models").fetchall() == [(5,)]


def test_what_is_wrong_with_the_column_is_said(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    with pytest.raises(CatalogError, match=r"SQL error\..*no_such"):
        checked_query(connection, "PIVOT models ON no_such USING sum(n)")
    with pytest.raises(CatalogError, match=r"List its values: PIVOT \.\.\. ON COLUMN IN"):
        with_values(connection, "SET threads = 1", check_kinds)
