import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalog import CatalogError
from catalog.schema import CHECKPOINTS, RUNS, SHARDS, TABLES, conform, empty

RUN = {"run_id": ["a"], "zoo": ["z"], "source": ["trained"]}
NEEDED = ("run_id", "zoo", "source")


def test_conform_puts_documented_columns_first_and_keeps_free_ones() -> None:
    given_ = pa.table({"dropout": [0.5], **RUN, "seed": pa.array([3], pa.int32())})
    table = conform(given_, "runs", NEEDED)
    assert table.column_names == [*(column.name for column in RUNS), "dropout"]
    assert table.schema.types[: len(RUNS)] == [column.type for column in RUNS]
    assert table["seed"].to_pylist() == [3]
    assert table["lr"].to_pylist() == [None]
    assert conform(table, "runs", NEEDED).equals(table)


@pytest.mark.parametrize("table", TABLES)
def test_empty_tables_have_every_documented_column(table: str) -> None:
    assert empty(table).column_names == [column.name for column in TABLES[table]]
    assert len(empty(table)) == 0


def test_documented_names_differ_but_for_the_keys() -> None:
    runs, checkpoints = ({c.name for c in table} for table in (RUNS, CHECKPOINTS))
    assert runs & checkpoints == {"run_id"}
    for columns in TABLES.values():
        assert len({c.name.lower() for c in columns}) == len(columns)
        assert all(c.unit and c.meaning for c in columns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"zoo": None}, "1 of 1 rows of runs have no 'zoo'"),
        ({"run_id": [None]}, "1 of 1 rows of runs have no 'run_id'"),
        ({"seed": ["x"]}, "'seed' of runs must be int64. Got string"),
        ({"seed": [0.5]}, "'seed' of runs must be int64. Got double"),
        ({"lr": ["fast"]}, "'lr' of runs must be double. Got string"),
        ({"lr": [[0.1]]}, "'lr' of runs must be double. Got list"),
        ({"seed": [1], "Seed": [2]}, "Two columns of runs are called '[Ss]eed' in SQL"),
        ({"SEED": [1]}, "Two columns of runs are called 'SEED' in SQL"),
        ({"drop": [1], "DROP": [2]}, "Two columns of runs are called '(drop|DROP)' in SQL"),
        ({"pz_x": [1]}, "'pz_x' of runs starts with the reserved 'pz_'"),
        ({"PZ_x": [1]}, "'PZ_x' of runs starts with the reserved 'pz_'"),
        ({"": [1]}, "'' of runs has no printable name"),
        ({"a\nb": [1]}, r"'a\\nb' of runs has no printable name"),
        (
            {"tags": [["a"]]},
            "'tags' of runs is list<.*>; a free column must be one of string",
        ),
        ({"x": pa.array([1], pa.int32())}, "'x' of runs is int32; a free column must be"),
        ({"x": pa.nulls(1)}, "'x' of runs is null; a free column must be"),
    ],
)
def test_columns_that_sql_could_not_tell_or_hold_are_refused(
    columns: dict, message: str
) -> None:
    table = {k: v for k, v in {**RUN, **columns}.items() if v is not None}
    with pytest.raises(CatalogError, match=message):
        conform(pa.table(table), "runs", NEEDED)


DOCUMENTED = {column.name for column in RUNS}
NEW_NAMES = st.text(max_size=6).filter(lambda name: name.lower() not in DOCUMENTED)


@example("", 1)
@example("pz_", 1)
@example("PZ_a", "x")
@example("a\0", 0.5)
@example("é'\"🦊.", True)
@given(NEW_NAMES, st.sampled_from([1, 0.5, "x", True]))
def test_a_free_column_of_any_name_is_kept_or_refused(name: str, value: object) -> None:
    given_ = pa.table({**RUN, name: [value]})
    if name and name.isprintable() and not name.lower().startswith("pz_"):
        assert conform(given_, "runs", NEEDED)[name].to_pylist() == [value]
    else:
        with pytest.raises(CatalogError, match=r"no printable name|the reserved 'pz_'"):
            conform(given_, "runs", NEEDED)


def test_every_content_of_a_shard_is_named() -> None:
    (column,) = [c for c in SHARDS if c.name == "content"]
    for word in ("weights", "metrics", "measures", "tombstones", "pack"):
        assert word in column.meaning
