"""Removing, packing and collecting garbage change what they say, and nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import catalog
from catalog import Catalog, CatalogError, Layout, NotFound, Param, Population
from catalog.console.program import main
from catalog.upkeep.annotation import annotate
from catalog.upkeep.compaction import compact
from catalog.upkeep.garbage import collect
from catalog.upkeep.history import history
from catalog.upkeep.removal import find_removal, remove
from catalog.upkeep.verify import verify

LAYOUT = Layout((Param("w", (3,)), Param("n", (), (), "int64", "counter")))
Content = dict[tuple[str, int], tuple[float | None, float | None]]

RUNS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True)
OPERATIONS = st.one_of(
    st.tuples(st.just("networks"), RUNS),
    st.tuples(st.just("metrics"), RUNS),
    st.tuples(st.just("measure"), RUNS),
    st.tuples(st.just("rm"), RUNS),
    st.tuples(st.just("compact"), st.none()),
    st.tuples(st.just("gc"), st.none()),
)


def value_of(run: str) -> float:
    return float(ord(run))


def commit_runs(zoo: Catalog, runs_of: Any, runs: list[str], *, weights: bool) -> None:
    """Two checkpoints of each run; the weights say which run it is."""
    ids = [run for run in runs for _ in (0, 1)]
    table = pa.table({"run_id": ids, "step": [0, 1] * len(runs)})
    values = np.array([[value_of(run)] * 3 for run in ids], np.float32)
    numbers = np.arange(len(ids), dtype=np.int64)
    population = Population(values, LAYOUT, table, {"n": numbers})
    with zoo.writer() as writer:
        writer.commit(runs_of(ids), table, population if weights else None)


def commit_measures(zoo: Catalog, runs: list[str]) -> None:
    table = pa.table(
        {"run_id": runs, "step": [1] * len(runs), "x": list(map(value_of, runs))}
    )
    with zoo.writer() as writer:
        writer.commit_measures(table, "x", {})


def content(zoo: Catalog) -> Content:
    """What every checkpoint's weights and measure say."""
    x = "x" if "x" in zoo.sql("FROM models").columns else "NULL"
    rows = zoo.sql(f"SELECT run_id, step, row, {x} FROM models").fetchall()
    measured = {(run, step): (None, value) for run, step, _, value in rows}
    if any(row is not None for _, _, row, _ in rows):
        networks = zoo.load("row IS NOT NULL", verify=True)
        keys = zip(
            *(networks.table[c].to_pylist() for c in ("run_id", "step")), strict=True
        )
        for key, weights in zip(keys, networks.weights, strict=True):
            assert np.ptp(weights) == 0
            measured[key] = (float(weights[0]), measured[key][1])
    assert len(measured) == len(rows)
    return measured


@given(st.lists(OPERATIONS, min_size=3, max_size=12))
@settings(max_examples=3)
def test_any_history_gives_what_a_dictionary_gives(
    new_zoo: Any, runs_of: Any, operations: list[Any]
) -> None:
    check_history(new_zoo, runs_of, operations)


@pytest.mark.slow
@given(st.lists(OPERATIONS, min_size=6, max_size=25))
@settings(max_examples=60)
def test_any_long_history_gives_what_a_dictionary_gives(
    new_zoo: Any, runs_of: Any, operations: list[Any]
) -> None:
    check_history(new_zoo, runs_of, operations)


def check_history(
    new_zoo: Any, runs_of: Any, operations: list[Any], *, quick: bool = False
) -> None:
    """Look after every operation, or where files are made anew."""
    zoo = new_zoo()
    weights: dict[tuple[str, int], float | None] = {}
    measured: dict[tuple[str, int], float] = {}
    versions: dict[int, Content] = {}
    for name, runs in operations:
        zoo = zoo.refreshed()
        if name in ("networks", "metrics"):
            commit_runs(zoo, runs_of, runs, weights=name == "networks")
            for run in runs:
                for step in (0, 1):
                    value = value_of(run) if name == "networks" else None
                    weights.setdefault((run, step), value)
        elif name == "measure":
            commit_measures(zoo, runs)
            measured |= {(run, 1): value_of(run) for run in runs}
        elif name == "rm":
            picked = {key for key in weights if key[0] in runs}
            where = f"run_id IN ({', '.join(map(repr, runs))})"
            if picked:
                assert remove(zoo, where).checkpoints == len(picked)
            else:
                with pytest.raises(NotFound):
                    remove(zoo, where)
            weights = {key: value for key, value in weights.items() if key not in picked}
        elif name == "compact":
            compact(zoo.root)
        else:
            kept = collect(zoo.root, keep=2, grace=0).versions
            versions = {v: seen for v, seen in versions.items() if v in kept}
        zoo = zoo.refreshed()
        if quick and name not in ("compact", "gc"):
            continue
        expected = {key: (value, measured.get(key)) for key, value in weights.items()}
        assert content(zoo) == expected, name
        if zoo.version:
            versions[zoo.version] = expected
        found = verify(zoo.root)
        assert not found.problems, name
        assert not found.leftovers, name
    for version, expected in versions.items():
        assert content(catalog.open(zoo.root, at=version)) == expected
    for path in (zoo.root / "HEAD", *(zoo.root / "cache").glob("*")):
        path.unlink()
    assert content(catalog.open(zoo.root)) == expected, "rebuilt from manifests"


@pytest.fixture
def zoo(new_zoo: Callable[[], Catalog], runs_of: Any) -> Catalog:
    """Runs a to d in four shards; a and b have a measure."""
    zoo = new_zoo()
    for run in "abcd":
        commit_runs(zoo, runs_of, [run], weights=True)
    commit_measures(zoo, ["a", "b"])
    return zoo.refreshed()


def files(root: Path, folder: str) -> set[str]:
    return {path.name for path in (root / folder).rglob("*.parquet")}


def test_the_removed_bytes_leave_with_gc_and_not_before(zoo: Catalog) -> None:
    before = files(zoo.root, "weights")
    removed = remove(zoo, "run_id = 'a' OR (run_id = 'b' AND step = 1)")
    assert (removed.runs, removed.checkpoints) == (1, 3)
    assert files(zoo.root, "weights") == before
    for _ in range(2):  # a rehearsal changes nothing
        planned = collect(zoo.root, rehearse=True)
        assert (len(planned.shards), len(planned.rewritten)) == (2, 1)  # and the tombstones
    waiting = collect(zoo.root)
    assert (waiting.shards, waiting.rewritten) == (planned.shards, planned.rewritten)
    assert not waiting.files, "somebody may still read the version before"
    garbage = collect(zoo.root, grace=0)
    assert len(before - files(zoo.root, "weights")) == 2
    assert garbage.bytes > 0
    assert len(content(catalog.open(zoo.root))) == 5


def test_finding_what_would_go_changes_nothing(zoo: Catalog) -> None:
    assert find_removal(zoo, "run_id = 'a'").checkpoints == 2
    assert zoo.refreshed().version == zoo.version


@pytest.mark.parametrize("where", ["nope = 1", "run_id =", "1; DROP TABLE models"])
def test_a_condition_that_is_no_sql_removes_nothing(zoo: Catalog, where: str) -> None:
    with pytest.raises(CatalogError):
        remove(zoo, where)
    assert zoo.refreshed().version == zoo.version


def test_what_is_committed_again_exists_again(zoo: Catalog, runs_of: Any) -> None:
    everything = content(zoo)
    remove(zoo, "run_id = 'a'")
    commit_runs(zoo, runs_of, ["a"], weights=True)
    assert content(zoo.refreshed()) == everything


def test_a_pack_holds_one_file_of_each_kind_and_the_same_models(zoo: Catalog) -> None:
    query = "FROM models ORDER BY run_id, step"
    before = zoo.sql(query).to_arrow_table()
    stats = "SELECT * FROM tensor_stats ORDER BY ALL"
    moments = zoo.sql(stats).fetchall()
    done = compact(zoo.root)
    assert (done.shards, done.files_before, done.files_after) == (5, 21, 6)
    packed = zoo.refreshed()
    assert packed.sql(query).to_arrow_table().equals(before)
    assert packed.sql(stats).fetchall() == moments
    assert packed.sql("SELECT * FROM measures").columns == zoo.sql("FROM measures").columns
    collect(zoo.root, grace=0)
    for kind in ("runs", "checkpoints", "chunks", "tensors", "tensor_stats", "measures"):
        assert files(zoo.root, kind) == {f"{done.pack}.parquet"}
    assert not compact(zoo.root).shards, "there is nothing left to join"
    assert catalog.open(zoo.root).load("run_id = 'a'", verify=True).weights.size == 6


def test_damage_in_a_packed_shard_is_found_by_row_and_tensor(zoo: Catalog) -> None:
    compact(zoo.root)
    zoo = zoo.refreshed()
    zoo.sql("FROM chunks")  # an opened catalogue has its index
    collect(zoo.root, grace=0)
    path = sorted((zoo.root / "weights").rglob("*.parquet"))[0]
    data = bytearray(path.read_bytes())
    chunk = zoo.sql(
        f"SELECT \"offset\" FROM chunks WHERE shard = '{path.stem}' AND tensor = 'w'"
    ).fetchall()[0][0]
    data[chunk + 13] ^= 1  # row 1: 12 bytes a row
    path.write_bytes(data)
    details = [problem.detail for problem in verify(zoo.root).problems]
    assert "row 1, tensor 'w': not what was committed" in details


def test_older_versions_are_listed_and_read_until_gc(zoo: Catalog) -> None:
    remove(zoo, "run_id = 'a'")
    remove(zoo.refreshed(), "run_id = 'b'")
    newest = zoo.refreshed().version
    counts = {row["version"]: row["tombstones"] for row in history(zoo.root)}
    assert next(iter(counts)) == newest
    assert counts[newest] == 2
    for version, tombstones in counts.items():
        if version >= zoo.version:
            old = catalog.open(zoo.root, at=version)
            assert len(content(old)) == 8 - 2 * tombstones
    collect(zoo.root, keep=1, grace=0)
    with pytest.raises(NotFound, match=f"has no version {zoo.version}. It has: "):
        catalog.open(zoo.root, at=zoo.version)


def test_gc_while_a_writer_works_keeps_what_it_stages(zoo: Catalog, runs_of: Any) -> None:
    remove(zoo, "run_id = 'a'")
    with zoo.writer() as writer:
        table = pa.table({"run_id": ["new"], "step": [0]})
        writer.commit(runs_of(["new"]), table)
        collect(zoo.root, grace=0)
        writer.commit(runs_of(["newer"]), pa.table({"run_id": ["newer"], "step": [0]}))
    found = {run for run, _ in content(zoo.refreshed())}
    assert found == {"b", "c", "d", "new", "newer"}


def test_a_snapshot_with_tombstones_says_that_old_readers_cannot_read_it(
    zoo: Catalog,
) -> None:
    def stated() -> list[int]:
        version = zoo.refreshed().version
        return json.loads((zoo.root / f"snapshots/{version}.json").read_text())["format"]

    assert stated() == [1, 0]
    remove(zoo, "run_id = 'a'")
    assert stated() == [2, 0]


def test_a_table_becomes_columns_of_models(zoo: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "sharpness.csv"
    path.write_text("run_id,step,sharpness,kind\na,0,1.5,low\nb,1,,high\n")
    done = annotate(zoo, path, "mine")
    assert (done.columns, done.checkpoints) == (["sharpness", "kind"], 2)
    rows = zoo.refreshed().sql(
        "SELECT run_id, step, sharpness, kind FROM models WHERE kind IS NOT NULL ORDER BY 1"
    )
    assert rows.fetchall() == [("a", 0, 1.5, "low"), ("b", 1, None, "high")]


def test_without_a_step_a_row_is_for_every_checkpoint(zoo: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "owners.csv"
    path.write_text("run_id,owner\na,x\nb,y\n")
    assert annotate(zoo, path, "owners").checkpoints == 4


def test_cells_are_typed_as_in_an_import(zoo: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "run_id,step,code,day,empty,n\na,0.0,007,2026-01-02,,1\nb,1.0,010,2026-01-03,,2\n"
    )
    assert annotate(zoo, path, "mine").checkpoints == 2
    query = "SELECT step, code, day, empty, n FROM models WHERE n IS NOT NULL ORDER BY n"
    assert zoo.refreshed().sql(query).fetchall() == [
        (0, "007", "2026-01-02", None, 1),
        (1, "010", "2026-01-03", None, 2),
    ]


def test_run_ids_that_look_like_numbers_are_text(
    zoo: Catalog, runs_of: Any, tmp_path: Path
) -> None:
    with zoo.writer() as writer:
        table = pa.table({"run_id": ["12e4", "007"], "step": [0, 0]})
        writer.commit(runs_of(["12e4", "007"]), table)
    path = tmp_path / "t.csv"
    path.write_text("run_id,x\n12e4,1\n007,2\n")
    assert annotate(zoo.refreshed(), path, "mine").checkpoints == 2


@pytest.fixture
def imported(zoo: Catalog, runs_of: Any) -> Catalog:
    """Runs p and q of one zoo have source_names; so has r, of another, that of q."""
    ids = ["p", "p", "q", "r"]
    runs = runs_of(ids, zoo=["one", "one", "two"], source_name=["1e1", "net", "net"])
    with zoo.writer() as writer:
        writer.commit(runs, pa.table({"run_id": ids, "step": [0, 1, 0, 0]}))
    return zoo.refreshed()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("source_name,y\n1e1,5\n", [("p", 0), ("p", 1)]),
        ("source_name,step,y\n1e1,1,5\n", [("p", 1)]),
        ("y,zoo,source_name\n5,two,net\n6,one,net\n", [("q", 0), ("r", 0)]),
    ],
)
def test_a_table_may_name_what_was_imported(
    imported: Catalog, tmp_path: Path, text: str, found: list[Any]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    assert annotate(imported, path, "mine").columns == ["y"]
    query = "SELECT run_id, step FROM models WHERE y IS NOT NULL ORDER BY 1, 2"
    assert imported.refreshed().sql(query).fetchall() == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source_name,x\nnet,5\n", "several runs, e.g. .*'net'.* column zoo or run_id"),
        ("source_name,x\nnett,5\n", "match no checkpoint .*'nett'"),
        ("source_name,zoo,x\n1e1,two,5\n", "match no checkpoint .*'two'"),
        ("source_name,step,x\n1e1,0.5,5\n", "whole numbers"),
        ("source_name,step,x\n1e1,,5\n", "1 of 1 rows have no step"),
    ],
)
def test_a_name_that_is_unknown_or_ambiguous_adds_nothing(
    imported: Catalog, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(CatalogError, match=message):
        annotate(imported, path, "mine")
    assert imported.refreshed().version == imported.version


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run,step,x\na,0,1\n", "no column 'run_id'"),
        ("run_id,step,x\nzz,0,1\n", "1 of 1 rows .* match no checkpoint"),
        ("run_id,step,x\na,7,1\n", "match no checkpoint .* 'step': 7"),
        ("run_id,step,x\na,zero,1\n", "must hold whole numbers"),
        ("run_id,step,x\na,0,1\na,0,2\n", "Two rows"),
        ("run_id,step,test_loss\na,0,1\n", "cannot be called 'test_loss'"),
        ("run_id,step\na,0\n", "no result"),
    ],
)
def test_a_table_that_does_not_fit_adds_nothing(
    zoo: Catalog, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(CatalogError, match=message):
        annotate(zoo, path, "mine")
    assert zoo.refreshed().version == zoo.version


def test_the_verbs_say_what_they_did(
    zoo: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def phasezoo(*words: str) -> tuple[Any, int]:
        with pytest.raises(SystemExit) as exit:
            main([*words, "--catalog", str(zoo.root), "--json"])
        out = capsys.readouterr().out
        return (json.loads(out) if out else None), exit.value.code

    picked = {"runs": 1, "checkpoints": 2}
    assert phasezoo("rm", "run_id = 'a'") == (picked | {"removed": False}, 0)
    assert phasezoo("rm", "run_id = 'a'", "--yes") == (picked | {"removed": True}, 0)
    assert phasezoo("rm", "run_id = 'a'", "--yes") == (None, 1)
    done, _ = phasezoo("compact")
    assert (done["shards"], done["files_after"]) == (5, 6)
    rehearsal, _ = phasezoo("gc", "--grace", "0", "--dry-run")
    assert rehearsal["dry_run"]
    assert rehearsal["files"]
    garbage, _ = phasezoo("gc", "--grace", "0")
    assert set(rehearsal["files"]) <= set(garbage["files"])
    versions, _ = phasezoo("versions")
    assert [row["version"] for row in versions] == garbage["versions"]
    newest = str(versions[0]["version"])
    count = "SELECT count(*) AS n FROM models"
    assert phasezoo("sql", count, "--at", newest) == ([{"n": 6}], 0)
    assert phasezoo("sql", count, "--at", "1") == (None, 1)
    assert phasezoo("gc", "--keep", "0") == (None, 2)
    table = tmp_path / "table.csv"
    table.write_text("run_id,step,y\nb,0,1.5\n")
    done, _ = phasezoo("annotate", str(table), "--name", "mine")
    assert (done["columns"], done["checkpoints"]) == (["y"], 1)
    assert phasezoo("annotate", str(tmp_path / "none.csv"), "--name", "mine") == (None, 2)


def test_verify_keeps_the_weights_of_a_version_that_can_be_read(
    new_zoo: Any, runs_of: Any
) -> None:
    check_history(
        new_zoo,
        runs_of,
        [("networks", ["a"])] * 4
        + [
            ("networks", ["a", "c"]),
            ("rm", ["c"]),
            ("compact", []),
            ("gc", []),
            ("gc", []),
        ],
        quick=True,
    )
    check_history(
        new_zoo,
        runs_of,
        [("networks", [run]) for run in "aaaab"]
        + [("compact", []), ("gc", []), ("gc", [])],
        quick=True,
    )


@pytest.mark.parametrize("statement", [
    "DELETE FROM checkpoints", "DELETE FROM models", "UPDATE checkpoints SET shard = 'x'",
    "DELETE FROM shards WHERE content = 'weights'", "UPDATE chunks SET \"offset\" = 4",
])  # fmt: skip
def test_gc_believes_what_was_committed_and_no_cache(
    new_zoo: Any, runs_of: Any, statement: str
) -> None:
    """Whoever made the cache: nothing is deleted for what it says."""
    zoo = new_zoo()
    for runs in (["a", "b"], ["c"]):
        commit_runs(zoo, runs_of, runs, weights=True)
    zoo = zoo.refreshed()
    remove(zoo, "run_id = 'b'")
    assert len(zoo.refreshed().load()) == 4
    (index,) = (zoo.root / "cache").glob(json.loads(
        (zoo.root / "cache" / "latest.json").read_text())["index"])  # fmt: skip
    with duckdb.connect(str(index)) as connection:
        connection.execute(statement)
    collect(zoo.root, grace=0, waste=0)
    shutil.rmtree(zoo.root / "cache")
    left = zoo.refreshed().load("true ORDER BY run_id, step", verify=True)
    assert left.weights[:, 0].tolist() == [97.0, 97.0, 99.0, 99.0]
    assert verify(zoo.root).problems == []


def test_text_is_no_value_of_a_column_of_numbers(
    new_zoo: Any, metrics: Any, tmp_path: Path
) -> None:
    zoo = new_zoo()
    metrics(zoo, "a", "b")
    table = tmp_path / "t.csv"
    for column, value, holds in (
        ("train_loss", "n/a", "numbers"), ("phase", "3", "text"),
    ):  # fmt: skip
        table.write_text(f"run_id,step,{column}\na,0,{value}\nb,0,1\n")
        with pytest.raises(CatalogError, match="cannot be called|holds " + holds):
            annotate(zoo.refreshed(), table, "mine")
    table.write_text("run_id,step,mine\na,0,1.5\n")
    annotate(zoo.refreshed(), table, "mine")
    table.write_text("run_id,step,mine\na,0,2\nb,0,n/a\n")
    with pytest.raises(CatalogError, match="'mine' holds numbers in models, but 'n/a' in"):
        annotate(zoo.refreshed(), table, "mine")
    table.write_text("run_id,step,mine\na,0,007\n")
    with pytest.raises(CatalogError, match="'mine' holds numbers in models, but '007' in"):
        annotate(zoo.refreshed(), table, "mine")
    table.write_text("run_id,step,mine\na,0,2\nb,0,\n")
    annotate(zoo.refreshed(), table, "mine")
    found = zoo.refreshed().sql("SELECT mine FROM models ORDER BY run_id").fetchall()
    assert found == [(2.0,), (None,)]
