"""The downstream suite on a catalogue: what is stored, inherited, resumed."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner

import catalog
import zoo
from catalog import LayoutMismatch, NotFound
from catalog.storage.splits import split
from catalog.upkeep.verify import verify
from zoo.cli import downstream as verb
from zoo.measuring.downstream import downstream, suite_parts
from zoo.measuring.measure import measure

PARTS = ["average_seeds", "average_steps", "ensemble", "pruning", "noise"]


@pytest.fixture(scope="module")
def done(tiny_zoo, tmp_path_factory):
    """A catalogue of eight runs, half of which diverged, and what the suite did."""
    root = tmp_path_factory.mktemp("downstream") / "zoo"
    shutil.copytree(tiny_zoo.root, root)
    said = []
    result = downstream(root, "tiny", PARTS, workers=1, announce=said.append)
    return root, result, said


def rows(root, query):
    relation = catalog.open(root).sql(query)
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def test_cost_is_said_before_and_every_checkpoint_has_a_result(done):
    _, result, said = done
    assert {line.split(":")[0] for line in said} == set(PARTS)
    assert result.measured["ensemble"] == result.checkpoints == 8
    assert result.measured["average_steps"] == 24  # it looks along whole runs


def test_what_was_made_are_runs_with_parents_in_a_zoo_of_their_own(done):
    root, _, _ = done
    made = rows(
        root,
        "SELECT m.*, len(parents) AS count FROM models m WHERE zoo = 'tiny_averages'",
    )
    kinds = Counter(row["operation"] for row in made)
    # Two living cells of two seeds; a soup of one network is that network.
    soups = "SELECT DISTINCT cell FROM models WHERE zoo = 'tiny' AND soup_count > 1"
    assert kinds == Counter(
        {
            "average_seeds average_raw": 2,
            "average_seeds average_aligned": 2,
            "average_seeds average_repaired": 2,
            "average_steps": 4,
            "average_seeds soup": len(rows(root, soups)),
        }
    )
    for row in made:
        assert row["source"] == "derived"
        assert row["finite"]
        assert row["count"] == (2 if "soup" not in row["operation"] else row["count"])
        assert row["cell"].endswith("lr=0.02")
        assert (row["load_axis"], row["step"], row["steps"]) == ("width", 30, 30)
        assert 0 < row["test_accuracy"] <= 1
        assert np.isfinite(row["gain_over_mean_parent"])
    assert not verify(root).problems


def test_splits_are_those_of_the_parents(done):
    root, _, _ = done
    known = {r["run_id"]: r for r in rows(root, "SELECT * FROM runs")}
    for row in known.values():
        if row["source"] != "derived":
            continue
        parents = [known[parent["run_id"]] for parent in row["parents"]]
        for name in ("split_by_run", "split_by_cell", "split_by_zoo"):
            theirs = {parent[name] for parent in parents}
            assert row[name] == (theirs.pop() if len(theirs) == 1 else "mixed")
        assert row["split_by_zoo"] == split("tiny")


def test_means_hold_biases_and_the_identity_their_making(done):
    root, _, _ = done
    store = catalog.open(root)
    made = store.load("operation = 'average_seeds average_raw' AND width = 4")
    (parents,) = made["parents"]
    listed = ", ".join(f"('{p['run_id']}', {p['step']})" for p in parents)
    own = store.load(f"(run_id, step) IN ({listed})")
    np.testing.assert_allclose(made.weights[0], own.weights.mean(0), rtol=1e-6, atol=1e-7)
    config = json.loads(made.table["config"][0].as_py())
    assert config["parents"] == [[p["run_id"], p["step"]] for p in parents]
    assert config["seed"] == 0
    everything = rows(root, "SELECT run_id FROM models WHERE source = 'derived'")
    assert len({r["run_id"] for r in everything}) == len(everything) >= 10


def test_which_phase_gains_is_one_query(done):
    root, _, _ = done
    query = downstream.__doc__.split("::")[1].strip()
    query = query.replace("phase IS NOT NULL", "zoo = 'tiny'")
    found = rows(root, query)
    (row,) = found
    assert row["networks"] == 8
    assert all(row[c] is not None for c in ("steps", "raw", "aligned", "repaired", "cliff"))


def test_diverged_seeds_have_no_values(done):
    root, _, _ = done
    columns = "average_raw_gain, ensemble_gain, prune_cliff, noise_rise"
    for row in rows(root, f"SELECT {columns} FROM models WHERE zoo = 'tiny' AND lr > 1"):
        assert set(row.values()) == {None}


def test_nothing_is_done_twice(done):
    root, _, _ = done
    before = len(catalog.open(root).snapshot.manifests)
    again = downstream(root, "tiny", PARTS, workers=1)
    assert set(again.measured.values()) == {0}
    assert len(catalog.open(root).snapshot.manifests) == before


def test_doing_it_again_makes_no_second_network(done, tmp_path):
    root, _, _ = done
    own = tmp_path / "zoo"
    shutil.copytree(root, own)
    query = (
        "SELECT run_id, step, test_accuracy, gain_over_mean_parent FROM models "
        "WHERE source = 'derived' ORDER BY ALL"
    )
    before = rows(own, query)
    downstream(own, "tiny", ["average_steps"], workers=1, again=True)
    assert rows(own, query) == before
    assert not verify(own).problems


def test_made_networks_are_measured_as_what_they_were_made_from(done, tmp_path):
    root, _, _ = done
    own = tmp_path / "zoo"
    shutil.copytree(root, own)
    measure(own, "tiny_averages", ["scores"], workers=1)
    for row in rows(
        own, "SELECT evaluated_test_error AS error, test_accuracy FROM models "
        "WHERE zoo = 'tiny_averages'",
    ):  # fmt: skip
        assert row["error"] == pytest.approx(1 - row["test_accuracy"], abs=1e-6)


def test_transfer_stores_fine_tuned_runs(tiny_zoo, tmp_path):
    root = tmp_path / "zoo"
    shutil.copytree(tiny_zoo.root, root)
    said = CliRunner().invoke(
        verb,
        [
            "tiny", "--only", "transfer", "--set", "transfer.steps=5", "--workers", "1",
            "--where", "width = 4", "--catalog", str(root), "--json",
        ],
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    found = rows(root, "SELECT * FROM models WHERE zoo = 'tiny_transfer'")
    assert (
        sorted(round(row["lr"], 6) for row in found)
        == [0.005] * 2 + [0.02] * 2 + [0.08] * 2
    )
    splits = {r["run_id"]: r["split_by_run"] for r in rows(root, "SELECT * FROM runs")}
    for row in found:
        (parent,) = row["parents"]
        assert parent["role"] == "init"
        assert row["split_by_run"] == splits[parent["run_id"]]
        assert json.loads(row["config"])["transform"] == "rot90"
    known = rows(root, "SELECT transfer_error FROM models WHERE zoo = 'tiny'")
    assert sum(row["transfer_error"] is not None for row in known) == 2


def test_two_layouts_are_not_averaged(tiny_zoo):
    store = catalog.open(tiny_zoo.root)
    some = [store.load(f"finite AND width = {w} AND step = 30") for w in (3, 4)]
    with pytest.raises(LayoutMismatch, match="one architecture") as refused:
        catalog.average(some, [[0, 2]])
    assert ".load(" in str(refused.value)


def test_parts_are_known_by_their_beginning():
    assert suite_parts(["average"]) == ["average_seeds", "average_steps"]
    assert suite_parts(["noise", "noise"]) == ["noise"]
    assert set(suite_parts()) >= {*PARTS, "barrier", "transfer"}
    assert not set(suite_parts()) & {"hessian", "scores"}
    with pytest.raises(NotFound, match="Closest: ensemble"):
        suite_parts(["ensembel"])
    assert zoo.downstream is downstream


def test_the_verb_lists_its_columns():
    said = CliRunner().invoke(verb, ["--list", "--only", "pruning", "--json"])
    assert {row["column"] for row in json.loads(said.output)} >= {"prune_cliff"}
