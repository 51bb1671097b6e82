"""What an identifier names, as a document and as a page."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import catalog
from catalog import Catalog, Layout, NotFound, Param, Population
from catalog.schema import PARENTS
from catalog.show import describe, page
from catalog.upkeep.compaction import compact

LAYOUT = Layout(
    (
        Param("fc.weight", (4, 3), ("h", None)),
        Param("fc.bias", (4,), ("h",), "bfloat16"),
        Param("phase", (2,), (), "complex64", "constant"),
        Param("seen", (), (), "int64", "counter"),
        Param("none", (0, 2), (), "float64"),
    )
)
PLANTED = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0, np.nan])


def trained_zoo(zoo: Catalog) -> None:
    """Three runs of three checkpoints with weights on a grid, a measure of one."""
    runs, steps = ["aaaa-best", "aaaa-mid", "bbbb-worst"], [0, 5, 10]
    keys = [(run, step) for run in runs for step in steps]
    n = len(keys)
    table = pa.table(
        {
            "run_id": [run for run, _ in keys],
            "step": [step for _, step in keys],
            "train_loss": [2.0, 1.0, 0.5] * 2 + [2.0, 3.0, None],
            "validation_accuracy": [0.1, 0.5, 0.9, 0.1, 0.4, 0.6, 0.1, 0.1, 0.2],
            "test_accuracy": [0.1, 0.5, 0.7, 0.1, 0.4, 0.8, 0.1, 0.1, 0.9],
        }
    )
    tensors = {
        "fc.weight": np.tile(PLANTED.reshape(4, 3).astype("f4"), (n, 1, 1)),
        "fc.bias": np.full((n, 4), 0x3F80, np.uint16),  # 1.0 in bfloat16
        "phase": np.ones((n, 2), np.complex64),
        "seen": np.arange(n),
        "none": np.zeros((n, 0, 2)),
    }
    population = Population.from_tensors(tensors, LAYOUT, table.select(["run_id", "step"]))
    configured = pa.table(
        {
            "run_id": runs,
            "zoo": ["phases"] * 3,
            "source": ["trained"] * 3,
            "license": ["MIT"] * 3,
            "load": [1.0, 2.0, 2.0],
            "temperature": [0.1] * 3,
            "load_axis": ["width"] * 3,
            "temperature_axis": ["lr"] * 3,
            "seed": [0, 1, 2],
            "dropout": [0.0, 0.5, 0.5],
        }
    )
    with zoo.writer() as writer:
        writer.commit(configured, table, population)
        measured = pa.table({"run_id": ["aaaa-best"], "step": [10], "sharpness": [7.5]})
        writer.commit_measures(measured, "m", {})


def imported_zoo(zoo: Catalog) -> None:
    """A metrics-only zoo without any grid, and a soup with two parents."""
    ids = [f"foreign-{i}" for i in range(5)]
    runs = {"run_id": ids, "zoo": ["foreign"] * 5, "source": ["imported"] * 5}
    points = {"run_id": ids, "step": [1] * 5, "force": [0.1, 0.2, 0.3, 0.4, 0.5]}
    parents = [
        {"run_id": "aaaa-best", "step": 10, "role": "average"},
        {"run_id": "elsewhere", "step": 3, "role": "average"},
    ]
    soup = {"run_id": "soup", "zoo": "soups", "source": "derived", "parents": parents}
    kinds = [("run_id", pa.string()), ("zoo", pa.string()), ("source", pa.string())]
    schema = pa.schema([*kinds, ("parents", PARENTS)])
    with zoo.writer() as writer:
        writer.commit(pa.table({**runs, "alpha": [1, 1, 2, 2, 3]}), pa.table(points))
        writer.commit(
            pa.Table.from_pylist([soup], schema=schema),
            pa.table({"run_id": ["soup"], "step": [0]}),
        )


@pytest.fixture(scope="module")
def zoos(new_zoo: Any) -> Catalog:
    """Both."""
    zoo = new_zoo()
    trained_zoo(zoo)
    imported_zoo(zoo)
    return zoo.refreshed()


def test_it_can_be_imported_alone() -> None:
    subprocess.run([sys.executable, "-c", "import catalog.show"], check=True)


def test_a_run_has_configuration_trajectory_and_lineage(zoos: Catalog) -> None:
    found = describe(zoos, "aaaa-best")
    assert (found["kind"], found["id"]) == ("run", "aaaa-best")
    assert found["configuration"]["dropout"] == 0.0
    assert "parents" not in found["configuration"]
    assert found["trajectory"]["step"] == [0, 5, 10]
    assert found["trajectory"]["train_loss"] == [2.0, 1.0, 0.5]
    assert found["trajectory"]["sharpness"] == [None, None, 7.5]
    assert "test_loss" not in found["trajectory"]
    assert found["parents"] == []
    (child,) = found["children"]
    assert (child["run_id"], child["from_step"], child["role"]) == ("soup", 10, "average")
    parents = describe(zoos, "soup")["parents"]
    assert [(p["run_id"], p["zoo"], p["known"]) for p in parents] == [
        ("aaaa-best", "phases", True),
        ("elsewhere", None, False),
    ]


def test_a_runs_page_draws_its_metrics(zoos: Catalog) -> None:
    text = page(describe(zoos, "aaaa-best"))
    (line,) = [line for line in text.splitlines() if "validation_accuracy" in line]
    assert line.split() == ["validation_accuracy", "▁▅█", "0.1", "0.9", "0.1", "0.9"]
    assert "3 checkpoints at steps 0, 5, 10" in text
    assert page(describe(zoos, "aaaa-best"), blocks=False).isascii()


def test_a_checkpoint_has_every_tensor_and_its_histogram(zoos: Catalog) -> None:
    found = describe(zoos, "aaaa-best@5")
    assert (found["kind"], found["id"]) == ("checkpoint", "aaaa-best@5")
    assert found["checkpoint"]["test_accuracy"] == 0.5
    assert found["run"]["dropout"] == 0.0
    rows = {row["tensor"]: row for row in found["tensors"]}
    assert list(rows) == [p.name for p in LAYOUT]
    weight, bias = rows["fc.weight"], rows["fc.bias"]
    assert (weight["shape"], weight["role"], weight["nonfinite"]) == ("4x3", "parameter", 1)
    assert (bias["dtype"], bias["mean"], bias["std"], bias["l2"]) == ("bfloat16", 1, 0, 2)
    assert rows["none"]["l2"] is None
    histograms = found["histograms"]
    assert "phase" not in histograms
    assert (
        sum(histograms["fc.weight"]["counts"]),
        histograms["fc.weight"]["nonfinite"],
    ) == (
        11,
        1,
    )
    assert histograms["fc.bias"] == {"edges": [1.0, 1.0], "counts": [4], "nonfinite": 0}
    assert histograms["seen"]["edges"] == [1.0, 1.0]
    together = found["all_parameters"]
    assert (sum(together["counts"]), together["nonfinite"]) == (15, 1)
    assert (together["edges"][0], together["edges"][-1]) == (0.0, 3.0)


def test_a_checkpoints_page_prints_exact_counts(zoos: Catalog) -> None:
    text = page(describe(zoos, "aaaa-best@5"))
    assert "fc.weight  (11 values)" in text
    assert "1 values are NaN or infinite" in text
    lines = text[text.index("fc.weight  (11") :].splitlines()[1:13]
    assert [int(line.split()[-2]) for line in lines] == [2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 2]
    assert page(describe(zoos, "aaaa-best@5"), blocks=False).isascii()


def test_a_checkpoint_without_weights_has_its_metrics(zoos: Catalog) -> None:
    found = describe(zoos, "foreign-2@1")
    assert (found["checkpoint"]["force"], found["tensors"]) == (0.3, [])
    assert "Tensors:\n  (none)" in page(found)


def test_a_zoo_with_a_grid(zoos: Catalog) -> None:
    found = describe(zoos, "phases")
    assert (found["zoo"]["runs"], found["zoo"]["checkpoints"]) == (3, 9)
    assert found["zoo"]["licenses"] == ["MIT"]
    assert found["zoo"]["weight_bytes"] == 9 * (12 * 4 + 4 * 2 + 2 * 8 + 8)
    (grid,) = found["grid"]
    assert (grid["loads"], grid["temperatures"], grid["cells"]) == ([1.0, 2.0], [0.1], 2)
    assert {row["column"] for row in found["varied"]} == {"seed", "dropout"}
    assert sum(row["by_run"] for row in found["splits"]) == 3
    last = found["last_checkpoints"]
    assert list(last) == ["validation_accuracy", "test_accuracy"]
    edges = last["validation_accuracy"]["edges"]
    assert (edges[0], edges[-1]) == (0.2, 0.9)
    assert sum(last["test_accuracy"]["counts"]) == 3


def test_representatives_are_chosen_on_validation_and_never_on_test(zoos: Catalog) -> None:
    found = describe(zoos, "phases")["representatives"]
    assert [(r["which"], r["run_id"]) for r in found] == [
        ("best", "aaaa-best"),
        ("median", "aaaa-mid"),
        ("worst", "bbbb-worst"),
    ]
    assert all(r["step"] == 10 and r["has_weights"] for r in found)
    foreign = describe(zoos, "foreign")
    chosen = [(r["which"], r["run_id"]) for r in foreign["representatives"]]
    assert chosen == [
        ("first", "foreign-0"),
        ("middle", "foreign-2"),
        ("last", "foreign-4"),
    ]
    assert "never used to choose" in foreign["representatives_are"]


def test_a_zoo_of_metrics_without_a_grid(zoos: Catalog) -> None:
    found = describe(zoos, "foreign")
    assert (found["grid"], found["zoo"]["checkpoints_with_weights"]) == ([], 0)
    (varied,) = found["varied"]
    assert (varied["column"], varied["listed"]) == ("alpha", [1, 2, 3])
    assert list(found["last_checkpoints"]) == ["force"]
    assert "Varied:" in page(found)


def test_a_shard_lists_its_files_and_row_groups(zoos: Catalog) -> None:
    manifest = zoos.snapshot.manifests[0]
    found = describe(zoos, manifest.shard)
    assert {f["kind"]: f["sha256"] for f in found["files"]} == {
        kind: file.sha256 for kind, file in manifest.files.items()
    }
    assert found["shard"]["bytes"] == sum(f.bytes for f in manifest.files.values())
    (group,) = found["row_groups"]
    assert (group["first_row"], group["rows"], group["bytes"]) == (0, 9, 9 * 80)
    assert found["checkpoints"][0]["checkpoints"] == 9
    measures = describe(zoos, zoos.snapshot.manifests[1].shard)
    assert measures["shard"]["measure_columns"] == ["sharpness"]
    assert measures["row_groups"] == []
    assert not {"members", "superseded", "pack", "group"} & found["shard"].keys()


@pytest.fixture(scope="module")
def compacted(zoos: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The same catalogue, with its metadata in a pack."""
    root = tmp_path_factory.mktemp("compacted") / "zoo"
    shutil.copytree(zoos.root, root)
    compact(root)
    return catalog.open(root)


def test_a_pack_lists_its_members(zoos: Catalog, compacted: Catalog) -> None:
    newest, members = compacted, [m.shard for m in zoos.snapshot.manifests]
    (pack,) = [m.shard for m in newest.snapshot.manifests if m.content == "pack"]
    document = describe(newest, pack)
    assert document["shard"]["members"] == members
    assert "superseded" not in json.loads(json.dumps(document))["shard"]
    assert f"members   {', '.join(members)}" in page(document)


def test_no_page_shows_an_object_of_python(compacted: Catalog) -> None:
    newest = compacted
    names = [m.shard for m in newest.snapshot.manifests]
    names += {m.arch_id for m in newest.snapshot.manifests if m.arch_id}
    ((run, step),) = newest.sql("SELECT run_id, step FROM models LIMIT 1").fetchall()
    names += [run, f"{run}@{step}"]
    names += [zoo for (zoo,) in newest.sql("SELECT DISTINCT zoo FROM runs").fetchall()]
    for name in names:
        text = page(describe(newest, name))
        shown = re.search(
            r"frozenset|\b(?:dict|set|Manifest|File)\(|\{'|\['|\('|\(\{", text
        )
        assert shown is None, text


def test_an_architecture_lists_its_tensors_and_zoos(zoos: Catalog) -> None:
    arch_id = zoos.snapshot.manifests[0].arch_id
    found = describe(zoos, arch_id)
    assert [t["tensor"] for t in found["tensors"]] == [p.name for p in LAYOUT]
    assert (found["architecture"]["parameters"], found["architecture"]["tensors"]) == (
        16,
        5,
    )
    assert found["architecture"]["symmetries"] == 1
    (zoo,) = found["zoos"]
    assert (zoo["zoo"], zoo["runs"], zoo["best_validation"]) == ("phases", 3, 0.9)


def test_a_zoo_that_states_no_status_has_no_count_of_diverged_runs(
    zoo: Catalog, runs_of: Any
) -> None:
    with zoo.writer() as writer:
        for name, status in (("silent", None), ("half", "finished")):
            ids = [f"{name}-0", f"{name}-1"]
            runs = runs_of(
                ids, zoo=[name] * 2, status=pa.array([None, status], pa.string())
            )
            writer.commit(runs, pa.table({"run_id": ids, "step": [0, 0]}))
    zoo = zoo.refreshed()
    assert describe(zoo, "silent")["zoo"]["diverged"] == "not stated"
    assert describe(zoo, "half")["zoo"]["diverged"] == 0
    assert "stated" not in describe(zoo, "half")["zoo"]


def test_names_of_runs_are_nothing_that_varies(zoo: Catalog, runs_of: Any) -> None:
    ids = [f"r-{i}" for i in range(14)]
    own = {
        "source_name": ids,
        "exported_run_id": ids,
        "path": ids,
        "index": list(range(14)),
        "remark": [f"run {i}" for i in range(14)],
        "seed": list(range(14)),
        "norm": ["a", "b"] * 7,
        "dropout": [i / 14 for i in range(14)],
    }
    with zoo.writer() as writer:
        runs = runs_of(ids, zoo=["many"] * 14, **own)
        writer.commit(runs, pa.table({"run_id": ids, "step": [0] * 14}))
    rows = describe(zoo.refreshed(), "many")["varied"]
    assert {row["column"] for row in rows} == {"seed", "norm", "dropout"}


def test_four_characters_are_enough_where_they_are_unique(zoos: Catalog) -> None:
    manifest = zoos.snapshot.manifests[0]
    assert describe(zoos, "bbbb")["id"] == "bbbb-worst"
    assert describe(zoos, "bbbb@10")["id"] == "bbbb-worst@10"
    assert describe(zoos, manifest.arch_id[:-3])["id"] == manifest.arch_id
    assert describe(zoos, "soup")["kind"] == "run"  # all of a name, not a start of soups


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("phasse", "Nothing is called 'phasse'.*Closest: phases"),
        ("aaaa-besd", "Closest: aaaa-best"),
        (
            "aaaa",
            r"Several identifiers begin with 'aaaa': aaaa-best \(run of phases\), aaaa-mid",
        ),
        ("aaaa@5", "Several identifiers begin with 'aaaa'"),
        ("aaa", "Nothing is called 'aaa'"),
        (
            "aaaa-best@6",
            r"no checkpoint at step '6'; its steps: 0, 5, 10.*show aaaa-best@10",
        ),
        ("aaaa-best@", "no checkpoint at step ''"),
        ("phases@10", "Nothing is called 'phases@10': no run is called 'phases'"),
        ("' OR 1=1 --", "Nothing is called"),
        (":id", "Nothing is called ':id'"),
        ("@", "Nothing is called '@'"),
    ],
)
def test_what_was_not_found_comes_with_candidates(
    zoos: Catalog, identifier: str, message: str
) -> None:
    with pytest.raises(NotFound, match=message):
        describe(zoos, identifier)


def test_one_name_of_several_things_is_told_apart(new_zoo: Any, runs_of: Any) -> None:
    zoo = new_zoo()
    with zoo.writer() as writer:
        for run, name in (("twice", "grid"), ("else", "twice")):
            runs = runs_of([run]).drop_columns("zoo").append_column("zoo", [[name]])
            writer.commit(runs, pa.table({"run_id": [run], "step": [0]}))
    zoo = zoo.refreshed()
    message = "'twice' is the name of a zoo and a run.*phasezoo show zoo:twice"
    with pytest.raises(NotFound, match=message):
        describe(zoo, "twice")
    for kind in ("zoo", "run"):
        assert describe(zoo, f"{kind}:twice")["kind"] == kind
    with pytest.raises(NotFound, match="Nothing is called 'shard:twice'"):
        describe(zoo, "shard:twice")


def test_long_tables_are_cut_in_text_and_whole_in_json(new_zoo: Any, metrics: Any) -> None:
    zoo = new_zoo()
    metrics(zoo, *[f"run-{i:02d}" for i in range(40)], seed=list(range(40)))
    for i in range(30):
        metrics(zoo, f"more-{i:02d}", zoo=["zoo"])
    found = describe(zoo.refreshed(), "zoo")
    assert len(found["shards"]) == 31
    assert "... and 7 more rows; --json prints all" in page(found)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_the_command_draws_what_its_output_can_hold(zoos: Catalog, encoding: str) -> None:
    command = [Path(sys.executable).with_name("phasezoo"), "show", "aaaa-best@5"]
    done = subprocess.run(
        [*command, "--catalog", str(zoos.root)],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    text = done.stdout.decode(encoding)
    assert ("█" in text) is (encoding == "utf-8")
    assert ("####" in text) is (encoding == "ascii")
    done = subprocess.run(
        [*command, "--catalog", str(zoos.root), "--json"], capture_output=True, check=True
    )
    assert json.loads(done.stdout)["histograms"]["fc.weight"]["nonfinite"] == 1
