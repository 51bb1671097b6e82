"""Newest wins per column, null never overwrites: against a plain dictionary."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import catalog
from catalog import Catalog, CatalogError
from catalog.index import cache, extend
from catalog.index.cache import index_path
from catalog.storage.measures import measure_table

KINDS = {
    "flat": st.floats(-9, 9, width=16),
    "rank": st.integers(-9, 9),
    "ok": st.booleans(),
    "phase": st.sampled_from(["I", "II", "IV-B", 'qu"ote', ""]),
}
RUNS = ["a", "b", "c"]


@st.composite
def measures(draw: st.DrawFn) -> dict[str, list[Any]]:
    """One commit: some runs, some columns, nulls anywhere."""
    ids = draw(st.lists(st.sampled_from([*RUNS, "unknown"]), min_size=1, unique=True))
    columns = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, unique=True))
    n = len(ids)
    values = {
        c: draw(st.lists(st.none() | KINDS[c], min_size=n, max_size=n)) for c in columns
    }
    return {"run_id": ids, "step": [0] * n, **values}


TYPES = {"flat": pa.float64(), "rank": pa.int64(), "ok": pa.bool_(), "phase": pa.string()}


def table_of(commit: dict[str, list[Any]]) -> pa.Table:
    return pa.table({k: pa.array(v, TYPES.get(k)) for k, v in commit.items()})


def add(zoo: Catalog, columns: pa.Table) -> None:
    with zoo.writer() as writer:
        writer.commit_measures(columns, "m", {"seed": 0})


def models(zoo: Catalog) -> list[dict[str, Any]]:
    """Every row and column of models, in order."""
    return zoo.sql("FROM models").to_arrow_table().to_pylist()


def rebuilt(zoo: Catalog) -> tuple[list[dict[str, Any]], list[Any]]:
    """The same, from an index built from nothing."""
    connection = cache.duckdb.connect()
    cache.build_index(connection, zoo.root, zoo.refreshed().snapshot.manifests)
    types = connection.sql("DESCRIBE models").fetchall()
    return connection.sql("FROM models").to_arrow_table().to_pylist(), types


@given(st.lists(measures(), min_size=1, max_size=5), st.booleans())
@settings(max_examples=4)
def test_the_newest_value_wins_and_a_null_never_overwrites(
    new_zoo: Any, metrics: Any, commits: list[dict[str, list[Any]]], stepwise: bool
) -> None:
    zoo, expected = new_zoo(), {run: {} for run in RUNS}
    metrics(zoo, *RUNS)
    for commit in commits:
        if stepwise:
            models(zoo.refreshed())
        add(zoo, table_of(commit))
        for i, run in enumerate(commit["run_id"]):
            for column in commit.keys() & KINDS.keys():
                if commit[column][i] is not None and run in expected:
                    expected[run][column] = commit[column][i]
    named = {column for commit in commits for column in commit.keys() & KINDS.keys()}
    found = models(zoo.refreshed())
    assert [row["run_id"] for row in found] == RUNS
    for row in found:
        assert row.keys() >= named
        assert {c: row[c] for c in named} == {
            c: expected[row["run_id"]].get(c) for c in named
        }


@pytest.mark.parametrize("stepwise", [False, True])
def test_the_newest_is_neither_the_greatest_nor_the_longest(
    new_zoo: Any, metrics: Any, stepwise: bool
) -> None:
    zoo = new_zoo()
    metrics(zoo, *RUNS)
    history = {
        "flat": ([5.5, None, 3.5], 3.5),
        "rank": ([9, 1, None], 1),
        "ok": ([True, False, None], False),
        "phase": (["IV-B", "I", None], "I"),
    }
    for i in range(3):
        commit = {column: [values[i]] for column, (values, _) in history.items()}
        add(zoo, table_of({"run_id": ["b"], "step": [0], **commit}))
        if stepwise:
            models(zoo.refreshed())
    found = {row["run_id"]: row for row in models(zoo.refreshed())}
    assert {c: found["b"][c] for c in history} == {
        c: last for c, (_, last) in history.items()
    }
    assert {c: found["a"][c] for c in history} == dict.fromkeys(history)


@pytest.mark.parametrize("late", [2, 3, 4])
def test_a_commit_that_arrives_after_newer_ones_takes_its_own_place(
    zoo: Catalog, runs_of: Any, late: int
) -> None:
    """As when somebody fetches shard by shard: order is that of commits."""
    with zoo.writer() as writer:
        for value in (1, 2):
            table = pa.table({"run_id": ["run-0"], "step": [0], "x": [value]})
            writer.commit_measures(table, "m", {})
        writer.commit(runs_of(["new"]), pa.table({"run_id": ["new"], "step": [0]}))
    (path,) = (
        zoo._folder.manifest(m.shard)
        for m in zoo.refreshed().snapshot.manifests
        if m.sequence == late
    )
    text = path.read_text()
    path.unlink()
    (zoo.root / "HEAD").unlink()
    models(zoo.refreshed())
    path.write_text(text)
    found = models(zoo.refreshed())
    assert found == rebuilt(zoo)[0]
    assert [row["run_id"] for row in found][-1] == "new"
    assert found[0]["x"] == 2


RUN = st.tuples(
    st.just("run"), st.sampled_from("defg"), st.sampled_from([{}, {"extra": [1.5]}])
)
ANY_COLUMN = st.sampled_from(["new", "New", "other", "extra", "rank", "pzrank", 'q"'])
ANY_VALUE = st.sampled_from([1, 2.5, "text", True, None])
POINT = st.tuples(st.just("point"), st.sampled_from("defg"), st.just({"extra": [2]}))
MEASURE = st.tuples(st.just("measure"), st.sampled_from("abcdefg"), ANY_COLUMN, ANY_VALUE)


STEPS = st.lists(st.tuples(RUN | POINT | MEASURE, st.booleans()), min_size=2, max_size=7)


def check_extension(
    new_zoo: Any, metrics: Any, runs_of: Any, steps: list[tuple[Any, bool]]
) -> None:
    """Commit step by step, look in between, and compare with an index built afresh."""
    zoo = new_zoo()
    metrics(zoo, "a", "b", "c")
    models(zoo.refreshed())
    for (what, run, *rest), look in steps:
        if what == "run":
            metrics(zoo, run, **rest[0])
        elif what == "point":
            points = pa.table({"run_id": [run], "step": [0], **rest[0]})
            with zoo.writer() as writer:
                writer.commit(runs_of([run]), points)
        else:
            column, value = rest
            values = pa.nulls(1, pa.float64()) if value is None else pa.array([value])
            add(zoo, pa.table({"run_id": [run], "step": [0], column: values}))
        if look:
            models(zoo.refreshed())
    opened = zoo.refreshed()
    rows, types = rebuilt(zoo)
    assert models(opened) == rows
    assert opened.sql("DESCRIBE models").fetchall() == types


@pytest.mark.parametrize(
    "steps",
    [
        [("measure", "d", "new", 1), ("run", "d", {})],
        [("measure", "a", "new", 1), ("measure", "a", "new", 2.5)],
        [("measure", "a", "new", 2.5), ("measure", "a", "new", 1)],
        [("measure", "a", "new", 1), ("measure", "b", "new", "text")],
        [("measure", "a", "new", 1), ("measure", "a", "New", 2)],
        [("measure", "a", "rank", 1), ("measure", "a", "rank", 2)],
        [("run", "d", {"extra": [1.5]}), ("measure", "d", "extra", 2.5)],
        [("measure", "a", "extra", 2.5), ("run", "d", {"extra": [1.5]})],
        [("run", "d", {}), ("run", "d", {"extra": [1.5]})],
        [("run", "d", {}), ("measure", "d", 'q"', 1), ("run", "e", {})],
        [("run", "d", {"extra": [1]}), *(("point", x, {"extra": [2]}) for x in "ef")],
        [("run", "d", {"Extra": [1]}), *(("point", x, {"extra": [2]}) for x in "ef")],
        [("run", "d", {"filename": ["f"]}), ("measure", "d", "_shard", 1)],
    ],
)
def test_an_index_extended_step_by_step_equals_one_built_from_nothing(
    new_zoo: Any, metrics: Any, runs_of: Any, steps: list[Any]
) -> None:
    check_extension(new_zoo, metrics, runs_of, [(step, True) for step in steps])


@given(STEPS)
@settings(max_examples=3)
def test_extending_an_index_equals_building_it(
    new_zoo: Any, metrics: Any, runs_of: Any, steps: list[tuple[Any, bool]]
) -> None:
    """Runs between measures, new columns, changed types, runs measured before they come."""
    check_extension(new_zoo, metrics, runs_of, steps)


@pytest.mark.slow
@given(STEPS)
@settings(max_examples=100)
def test_extending_an_index_equals_building_it_often(
    new_zoo: Any, metrics: Any, runs_of: Any, steps: list[tuple[Any, bool]]
) -> None:
    check_extension(new_zoo, metrics, runs_of, steps)


def test_a_new_measure_extends_the_index_and_a_changed_type_rebuilds_it(
    zoo: Catalog, monkeypatch: Any
) -> None:
    built = []
    real = cache.build_index

    def build(connection: Any, root: Any, manifests: Any, **how: Any) -> None:
        built.append(len(manifests))
        real(connection, root, manifests, **how)

    for module in (cache, extend):
        monkeypatch.setattr(module, "build_index", build)
    models(zoo)
    assert built == [1]
    add(zoo, pa.table({"run_id": ["run-0"], "step": [0], "x": [1]}))
    models(zoo.refreshed())
    assert built == [1, 0]  # nothing but the new shard's own, empty tables
    add(zoo, pa.table({"run_id": ["run-0"], "step": [0], "x": [2.5]}))
    assert models(zoo.refreshed())[0]["x"] == 2.5
    assert built == [1, 0, 0, 3]


def test_measures_keep_their_provenance(zoo: Catalog) -> None:
    with zoo.writer() as writer:
        table = pa.table({"run_id": ["run-0"], "step": [0], "x": [1.5], "x_se": [0.5]})
        manifest = writer.commit_measures(table, "hessian", {"seed": 3, "split": "train"})
    assert manifest.measure_columns == ("x", "x_se")
    (row,) = zoo.refreshed().sql("FROM measures").to_arrow_table().to_pylist()
    assert (row["measure"], row["provenance"]) == ("hessian", '{"seed":3,"split":"train"}')
    assert (row["x"], row["x_se"], len(row["measure_id"])) == (1.5, 0.5, 16)


def test_measures_of_equal_sequence_are_ordered_by_content(zoo: Catalog) -> None:
    """As after two people measured one published catalogue and merged."""
    for value in (1, 2):
        add(zoo, pa.table({"run_id": ["run-0"], "step": [0], "x": [value]}))
    for path in (zoo.root / "manifests").glob("*.json"):
        path.write_text(path.read_text().replace('"sequence":3', '"sequence":2'))
    (zoo.root / "HEAD").unlink()
    merged = zoo.refreshed()
    both = [
        m.files["measures"] for m in merged.snapshot.manifests if m.content == "measures"
    ]
    newest = max(both, key=lambda file: file.sha256)
    table = pq.read_table(merged.root / newest.path, partitioning=None)
    assert models(merged)[0]["x"] == table["x"][0].as_py()


GOOD = {"run_id": ["a"], "step": [0], "x": [1.5]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"run_id": ["a"], "x": [1.5]}, "'m' needs a 'step'"),
        ({"step": [0], "x": [1.5]}, "'m' needs a 'run_id'"),
        ({**GOOD, "run_id": [None]}, "'m' needs a 'run_id'"),
        ({**GOOD, "step": pa.nulls(1, pa.int64())}, "'m' needs a 'step'"),
        ({**GOOD, "step": ["x"]}, "'step' of the measure 'm' must be int64. Got string"),
        ({**GOOD, "step": [0.5]}, "'step' of the measure 'm' must be int64. Got double"),
        (
            {"run_id": ["a"] * 2, "step": [0] * 2, "x": [1, 2]},
            r"Two rows of .*'m' have the same",
        ),
        ({"run_id": ["a"], "step": [0]}, "no result column in the measure 'm'"),
        ({**GOOD, "X": [1]}, "Two columns of the measure 'm' are called '[xX]'"),
        (
            {**GOOD, "RUN_ID": ["a"]},
            "Two columns of the measure 'm' are called '(run_id|RUN_ID)'",
        ),
        ({**GOOD, "test_accuracy": [1.0]}, "cannot be called 'test_accuracy'.*'m_test_acc"),
        ({**GOOD, "Zoo": ["z"]}, "cannot be called 'Zoo'"),
        ({**GOOD, "shard": ["z"]}, "cannot be called 'shard'"),
        ({**GOOD, "measure": ["z"]}, "cannot be called 'measure'"),
        ({**GOOD, "provenance": ["z"]}, "cannot be called 'provenance'"),
        ({**GOOD, "pz_rank": [1]}, "'pz_rank' of the measure 'm' starts with the reserved"),
        ({**GOOD, "": [1]}, "'' of the measure 'm' has no printable name"),
        ({**GOOD, "y": [[1]]}, "'y' is list<.*it must be one of double"),
        ({**GOOD, "y": pa.array([1], pa.int32())}, "'y' is int32; it must be one of"),
        ({**GOOD, "y": pa.nulls(1)}, "'y' is null; it must be one of"),
    ],
)
def test_results_that_models_cannot_hold_are_refused(columns: dict, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        measure_table(pa.table(columns), "m", {})


def test_a_measure_with_the_name_of_a_free_column_leaves_the_runs_own_alone(
    new_zoo: Any, metrics: Any
) -> None:
    zoo = new_zoo()
    metrics(zoo, "a", dropout=[0.5])
    models(zoo.refreshed())
    add(zoo, pa.table({"run_id": ["a"], "step": [0], "dropout": [0.9]}))
    (row,) = models(zoo.refreshed())
    assert row["dropout"] == 0.5
    assert catalog.open(zoo.root).sql("SELECT dropout FROM runs").fetchall() == [(0.5,)]


def test_the_index_of_a_snapshot_is_named_after_its_content(
    zoo: Catalog, new_zoo: Any, metrics: Any
) -> None:
    folder = zoo._folder
    before = index_path(folder, zoo.snapshot)
    metrics(zoo, "x")
    assert index_path(folder, zoo.refreshed().snapshot) != before
    (zoo.root / "HEAD").unlink()
    renumbered = zoo.refreshed()
    assert renumbered.version > zoo.version
    assert index_path(folder, renumbered.snapshot) != before


def test_a_documented_measure_keeps_its_type() -> None:
    keys = {"run_id": ["a"], "step": [0]}
    whole = measure_table(pa.table({**keys, "phase_distance": [1]}), "m", {})
    assert whole["phase_distance"].to_pylist() == [1.0]
    assert whole.schema.field("phase_distance").type == pa.float64()
    with pytest.raises(CatalogError, match="documents it as double"):
        measure_table(pa.table({**keys, "phase_distance": ["near"]}), "m", {})
