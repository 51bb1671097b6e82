"""The list of zoos."""

import json
import math

import pyarrow as pa
import pytest

import catalog
from catalog.cli import ls
from catalog.show.zoos import total, zoos


@pytest.fixture
def two(zoo, networks, small_layout, runs_of, metrics, measure):
    late = networks(small_layout, 4, seed=3, prefix="late")
    ids = late.table["run_id"].to_pylist()
    runs = runs_of(
        ids, zoo=["other"] * 4, license=["mit", None, "mit", "cc0"],
        task_name=["digits"] * 4,
    )  # fmt: skip
    checkpoints = late.table.append_column(
        "validation_accuracy", pa.array([0.2, 0.8, None, math.nan])
    ).append_column("test_accuracy", pa.array([0.9, 0.7, 1.0, 1.0]))
    with zoo.writer() as writer:
        writer.commit(runs, checkpoints, late)
    checkpoints = pa.table({"run_id": ["bare-0"], "step": [0], "test_accuracy": [0.6]})
    with zoo.writer() as writer:
        writer.commit(runs_of(["bare-0"], zoo=["bare"]), checkpoints)
    metrics(zoo, "bare-1", zoo=["bare"])
    rows = [("late-0", 0, "I"), ("late-1", 10, "IV-B"), ("late-2", 20, "unmeasured")]
    measure(zoo, [dict(zip(("run_id", "step", "phase"), r, strict=True)) for r in rows])
    return zoo.refreshed()


def test_every_zoo_has_a_row(two, small_layout):
    rows = {row["zoo"]: row for row in zoos(two)}
    assert list(rows) == ["bare", "other", "zoo"]
    other = rows["other"]
    size = sum(param.nbytes for param in small_layout)
    assert (other["runs"], other["checkpoints"], other["bytes"]) == (4, 4, 4 * size)
    assert other["tasks"] == ["digits"]
    assert other["phases"] == ["I", "IV-B"]
    assert other["licenses"] == ["cc0", "mit", "not stated"]
    assert other["best_test_accuracy"] == 0.7  # of the best on the validation split
    assert rows["bare"]["best_test_accuracy"] == 0.6
    assert rows["zoo"]["best_test_accuracy"] is None
    assert (rows["zoo"]["phases"], rows["bare"]["bytes"]) == ([], 0)
    assert (rows["bare"]["runs"], rows["bare"]["checkpoints"]) == (2, 2)
    counted = two.sql("SELECT count(DISTINCT run_id), count(*) FROM models").fetchall()
    sums = total(list(rows.values()))
    assert (sums["zoos"], sums["bytes"]) == (3, 9 * size)
    assert [(sums["runs"], sums["checkpoints"])] == counted


def test_sizes_are_those_of_the_page_of_a_zoo(two):
    from catalog.show import describe

    for row in zoos(two):
        facts = describe(two, f"zoo:{row['zoo']}")["zoo"]
        for name in ("runs", "checkpoints"):
            assert row[name] == facts[name]
        assert row["bytes"] == facts.get("weight_bytes", 0)


def test_the_command_prints_a_table_or_a_document(two, capsys):
    at = ["--catalog", str(two.root)]
    ls.main(at, standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["zoo", "tasks", "architectures"]
    assert [line.split()[0] for line in lines[2:5]] == ["bare", "other", "zoo"]
    assert lines[-1].startswith("3 zoos: 11 runs, 11 checkpoints, ")
    ls.main([*at, "--json"], standalone_mode=False)
    value = json.loads(capsys.readouterr().out)
    assert value["zoos"] == zoos(two)
    assert value["version"] == two.version
    ls.main([*at, "--at", "1"], standalone_mode=False)
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 zoo: 5 runs")


def test_an_empty_catalogue_has_none(tmp_path, capsys):
    catalog.open(tmp_path, create=True)
    assert zoos(catalog.open(tmp_path)) == []
    ls.main(["--catalog", str(tmp_path)], standalone_mode=False)
    assert capsys.readouterr().out.startswith("0 zoos: 0 runs, 0 checkpoints")


def test_names_of_strangers_are_only_printed(zoo, networks, small_layout, commit, capsys):
    commit(zoo, networks(small_layout, 1, prefix="x"), zoo=["'; \x1b[2J -- \n"])
    ls.main(["--catalog", str(zoo.root)], standalone_mode=False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 5
