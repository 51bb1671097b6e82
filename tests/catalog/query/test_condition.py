"""A condition is one expression, with ORDER BY, LIMIT and OFFSET at most."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import catalog
from catalog import Catalog, CatalogError
from catalog.catalog import arrow_table
from catalog.upkeep.removal import find_removal

GOOD = {
    "true": 5,
    "step > 0": 4,
    "step > 0 AND run_id <> 'run-1'": 3,
    "step > 0 -- AND false": 4,
    "/* true */ step > 0 /* AND false */": 4,
    "true ORDER BY step DESC LIMIT 2": 2,
    "true ORDER BY step DESC, run_id LIMIT 2 OFFSET 4": 1,
    "true OFFSET 3": 2,
    "true LIMIT (SELECT count(*) - 4 FROM models)": 1,
    "true LIMIT 40%": 2,
    "true ORDER BY ALL": 5,
    "true ORDER BY 1": 5,
    "run_id IN (SELECT run_id FROM models WHERE step > 10)": 3,
    "run_id IN (SELECT run_id FROM runs GROUP BY run_id HAVING count(*) = 1)": 5,
    "step = (SELECT max(step) FROM models)": 1,
    "EXISTS (SELECT 1 FROM tensor_stats s WHERE s.shard = models.shard)": 5,
    "step IN (WITH big AS (SELECT step FROM models WHERE step > 10) FROM big)": 3,
    "models.step BETWEEN 10 AND 20": 2,
    "CASE WHEN step > 10 THEN true ELSE false END": 3,
    "zoo = 'it''s; DROP TABLE models --'": 0,
    "list_contains([10, 20], step)": 2,
    "(run_id, step) IN (('run-0', 0), ('run-1', 10), ('run-1', 11))": 2,
    "run_id LIKE 'run-%' AND NOT (step IS NULL)": 5,
}
"""Conditions, and how many of five networks they pick."""

BAD = [
    "",
    " ",
    "-- only a comment",
    ";",
    "true;",
    "true; SELECT 1",
    "1=1; COPY (SELECT 1) TO 'x'",
    "1=1; DROP TABLE models; --",
    "true) UNION (SELECT * FROM models",
    "true) UNION ALL SELECT * FROM (SELECT * FROM models",
    "true UNION ALL SELECT * FROM models",
    "true EXCEPT SELECT * FROM models",
    "true) AS pz, (SELECT 1",
    "true) pz JOIN models ON (true",
    "true) AS pz WHERE EXISTS (SELECT 1",
    "true) AS pz --",
    "true\n) AS pz --",
    "true) --",
    "true /*",
    "true */",
    "true 'open",
    'true "open',
    "true $$ open",
    "(true",
    "true)",
    "true GROUP BY run_id",
    "true GROUP BY ALL",
    "true HAVING true",
    "true QUALIFY row_number() OVER () = 1",
    "true USING SAMPLE 2",
    "true TABLESAMPLE 10%",
    "true INTO t",
    "true RETURNING *",
    "true FOR UPDATE",
    "step > 0, true",
    "step > 0 AS x",
    "*",
    "SELECT * FROM models",
    "WHERE true",
    "ORDER BY step",
    "LIMIT 3",
    "true LIMIT 3 UNION SELECT * FROM models",
    "step = $1",
    "step = ?",
    "step = $name",
    "write_log('x') IS NULL",
    "setseed(0.5) IS NULL",
    "true ORDER BY write_log('x')",
    "true LIMIT (SELECT nextval('s'))",
    "step IN (WITH d AS (COPY (SELECT 1) TO 'x') SELECT 1)",
    "step IN (WITH d AS (DELETE FROM models) SELECT 1)",
    "step IN (FROM query('SELECT 1'))",
    "no_such_column = 1",
    "run_id = 'x' COLLATE",
    "'\ud800' = run_id",
]


@pytest.fixture(scope="module")
def five(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Five networks, which no test changes."""
    root = tmp_path_factory.mktemp("five")
    shutil.copytree(template, root, dirs_exist_ok=True)
    return catalog.open(root)


def count(zoo: Catalog, where: str) -> int:
    found: int = zoo.sql(f"SELECT count(*) FROM ({zoo.matching(where)})").fetchall()[0][0]
    return found


@pytest.mark.parametrize("where", GOOD)
def test_conditions_pick_rows(five: Catalog, where: str) -> None:
    assert count(five, where) == GOOD[where]
    selected = five.select(where)
    assert len(selected) == GOOD[where]
    if GOOD[where]:
        assert len(five.read_tensor("fc.weight", where)) == GOOD[where]
        assert find_removal(five, where).checkpoints == GOOD[where]


def test_an_order_is_kept(five: Catalog) -> None:
    selected = five.select("step > 0 ORDER BY step DESC LIMIT 3 OFFSET 1")
    assert selected.table["step"].to_pylist() == [30, 20, 10]
    rows = five.sql(five.matching("true ORDER BY step DESC")).to_arrow_table()
    assert rows["step"].to_pylist() == [40, 30, 20, 10, 0]
    # Positions count the columns of models, whatever is read of them.
    assert find_removal(five, "true ORDER BY 1 DESC LIMIT 1").keys == pa.table(
        {"run_id": ["run-4"], "step": [40]}
    )


@pytest.mark.parametrize("where", BAD)
def test_what_is_more_is_refused(five: Catalog, where: str) -> None:
    with pytest.raises(CatalogError):
        count(five, where)
    with pytest.raises(CatalogError):
        five.select(where)
    with pytest.raises(CatalogError):
        five.read_tensor("fc.weight", where)
    with pytest.raises(CatalogError):
        find_removal(five, where)
    assert count(five, "true") == 5


def test_the_error_says_what_a_condition_is(five: Catalog) -> None:
    with pytest.raises(CatalogError, match=r"is not a condition\. Expected one expression"):
        five.select("true GROUP BY run_id")
    with pytest.raises(CatalogError, match=r"SQL error\..*syntax error"):
        five.select("step = = 1")


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "-- a", "/* a */", "/* a */ -- b\n"])
def test_a_blank_text_is_refused_in_words_of_the_user(five: Catalog, blank: str) -> None:
    for read in (five.matching, five.select, five.load, five.expression):
        with pytest.raises(CatalogError, match=r"is empty\. An? ") as refused:
            read(blank)
        assert "LINE" not in str(refused.value)
        assert "pz" not in str(refused.value)


def test_no_condition_at_all_means_all(five: Catalog) -> None:
    assert len(five.select()) == len(five.select(None)) == 5


@pytest.mark.parametrize("where", ["step =", "step = 3) --", "step = (3", "1=1; SELECT 2"])
def test_an_error_shows_no_brackets_that_the_user_did_not_write(
    five: Catalog, where: str
) -> None:
    with pytest.raises(CatalogError) as refused:
        five.select(where)
    assert "FROM (SELECT" not in str(refused.value)
    assert "pz" not in str(refused.value)


PIECES = [
    "true", "step > 0", "run_id", "'x'", "--", "/*", "*/", "\n", ";", "(", ")", "'", '"',
    "$$", " AND ", " OR ", " UNION ", " ALL ", "SELECT ", "FROM ", "models", " WHERE ",
    " GROUP BY ", " ORDER BY ", " LIMIT 1", " OFFSET 1", " QUALIFY ", "pz", " AS ", ",",
    "COPY (SELECT 1) TO 'x'", "WITH d AS (", "INSERT INTO t ", "1", "*", " IN ", "\0",
]  # fmt: skip


def test_texts_at_random_never_leave_their_place(five: Catalog) -> None:
    """What is accepted is a filter: every row is one of models, none comes twice."""
    possible = {(f"run-{i}", 10 * i, "end") for i in range(5)}

    @settings(deadline=None, max_examples=300)
    @given(parts=st.lists(st.sampled_from(PIECES), max_size=9))
    def holds(parts: list[str]) -> None:
        try:
            query = five.matching("".join(parts))
            answer = five.sql(f"SELECT run_id, step, 'end' AS pz FROM ({query})")
            rows = [tuple(row.values()) for row in arrow_table(answer).to_pylist()]
        except CatalogError:
            return
        assert len(rows) == len(set(rows))
        assert set(rows) <= possible

    holds()


@pytest.mark.parametrize(
    "text",
    ["step", "step > 1 AND zoo = 'z'", "(SELECT max(step) FROM models)", "step -- x"],
)
def test_an_expression_stands_between_brackets(zoo: Catalog, text: str) -> None:
    query = f"SELECT {zoo.expression(text)} AS a, run_id FROM models"
    assert zoo.sql(query).columns == ["a", "run_id"]


@pytest.mark.parametrize(
    "text",
    [
        "step) AS a, (2",
        "0) FROM models WHERE error('x') = 'a' --",
        "*",
        "COLUMNS('s.*')",
        "1); DROP TABLE models; SELECT (1",
        "1) UNION SELECT (2",
        "(FROM read_text('/etc/hostname') SELECT content)",
        "getenv('HOME')",
    ],
)
def test_what_leaves_the_brackets_is_no_expression(zoo: Catalog, text: str) -> None:
    with pytest.raises(CatalogError):
        zoo.sql(f"SELECT {zoo.expression(text)} FROM models").fetchall()
