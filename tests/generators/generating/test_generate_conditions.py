"""The verb generate with conditions: control, retrieval, the best of several, lineage."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import catalog
from catalog import CatalogError
from catalog.console.program import phasezoo
from generators.generating.generate import generate
from generators.generating.sampling import seed_of
from generators.registry import open_generator
from zoo.run import Run

pytestmark = pytest.mark.usefixtures("few_strengths")

OURS = "zoo = 'seeds' AND width = 6"
QUICK = [
    'schedule={"iterations": 20, "batch_size": 16, "every": 10}',
    "velocity=film_mlp",
    'sizes={"width": 16, "depth": 1, "embedding": 8}',
    "components=4",
    'solver={"method": "heun", "steps": 4}',
]


@pytest.fixture(scope="module")
def ends(root):
    """Validation accuracies that a fifth of training networks is below, and above."""
    return catalog.open(root).sql(
        "SELECT quantile_cont(validation_accuracy, 0.2), "
        f"quantile_cont(validation_accuracy, 0.8) FROM models WHERE {OURS} AND "
        "source = 'trained' AND split_by_run = 'train'"
    ).fetchall()[0]  # fmt: skip


@pytest.fixture(scope="module")
def asked(root, ends, few_strengths):
    """The best of three flows each, of two conditions without guidance, one outside."""
    lines = []
    found = generate(
        catalog.open(root), "deepweightflow", where=OURS, n=8, null_count=6, settings=QUICK,
        conditions=[f"validation_accuracy={ends[0]},1.5"], guidance=0.0, temperature=0.9,
        best_of=3, extrapolate=True, announce=lines.append,
    )  # fmt: skip
    return found, lines


def rows_of(root, found):
    listed = ", ".join(f"'{run}'" for run in found["samples"])
    table = catalog.open(root).sql(f"SELECT * FROM models WHERE run_id IN ({listed})")
    rows = {row["run_id"]: row for row in table.to_arrow_table().to_pylist()}
    return [rows[run] for run in found["samples"]]


def test_conditions_are_measured_beside_retrieval(root, ends):
    lines = []
    found = generate(
        catalog.open(root), "retrieval", where=OURS, n=20, null_count=16,
        conditions=["validation_accuracy={},{}".format(*ends)], announce=lines.append,
    )  # fmt: skip
    (one,) = found["control"]
    assert one["column"] == "validation_accuracy"
    assert one["error"] == pytest.approx(one["retrieval"]["error"])
    assert one["slope"] > 0.5
    assert found["assessments"][0]["samples"][0]["novelty"]["median"] < 1e-6
    assert not any("networks are judged" in line for line in lines)


def test_test_labels_in_a_condition_are_told(root):
    arguments = ["generate", "retrieval", "--catalog", str(root), "--where", OURS]
    arguments += ["-n", "4", "--nulls", "4", "--condition", "test_accuracy=0.9"]
    for _ in range(2):  # also where it was generated before
        told = CliRunner().invoke(phasezoo, arguments)
        assert told.exit_code == 0, told.output
        assert "Paste instead: --condition validation_accuracy=0.9" in told.stderr


def test_samples_of_two_conditions_are_no_twins(root, asked):
    # Without guidance both conditions ask the same: one seed would make the same networks.
    store, (found, _) = catalog.open(root), asked
    listed = ", ".join(f"'{run}'" for run in found["samples"])
    made = store.load(f"run_id IN ({listed})")
    place = {run: i for i, run in enumerate(made["run_id"])}
    weights = made.weights[[place[run] for run in found["samples"]]]
    apart = np.linalg.norm(weights[:4, None] - weights[None, 4:], axis=-1)
    assert apart.min() > 1e-3


def test_retrieval_and_nulls_are_chosen_alike(asked):
    (found, _), (one,) = asked, asked[0]["assessments"]
    ours, retrieval = one["samples"]
    assert ours["label"] == "deepweightflow, best of 3"
    assert retrieval["label"] == "retrieval, best of 3"
    assert retrieval["novelty"]["median"] < 1e-6
    assert len(one["nulls"]) > 8
    assert {null["count"] for null in one["nulls"]} == {6}
    assert all(null["label"].endswith(", best of 3") for null in one["nulls"])
    names = [row["networks"] for row in found["table"]]
    assert names[:3] == [ours["label"], retrieval["label"], "held-out networks"]


def test_samples_say_where_they_are_from(root, asked, ends):
    found, _ = asked
    rows, fits = rows_of(root, found), set()
    for i, row in enumerate(rows):
        config = json.loads(row["config"])
        condition = {"validation_accuracy": ends[0] if i < 4 else 1.5}
        assert config["generator"] == "deepweightflow"
        assert config["generator_settings"]["solver"]["steps"] == 4
        assert config["condition"] == condition
        assert config["seed"] == seed_of(0, condition)
        assert config["settings"]["guidance"] == 0
        assert config["settings"]["temperature"] == 0.9
        assert config["chosen_by"] == "validation_accuracy"
        assert row["generated_extrapolated"] == (i >= 4)
        assert row["parents"] in (None, [])
        fits.add(config["fit"])
        assert Run.from_config(config["run"]).lr == 0.05
    assert len(fits) == 1
    again = open_generator(found["file"])
    assert again.solver.steps == 4


def test_only_settings_that_all_training_networks_share_are_kept(root):
    store = catalog.open(root)
    found = generate(store, "train", where="width = 6", n=3, null_count=4)
    ((lr, cell),) = store.sql(
        f"SELECT DISTINCT lr, cell FROM models WHERE {OURS} AND source = 'trained'"
    ).fetchall()
    for row in rows_of(root, found):
        run = json.loads(row["config"])["run"]
        assert (run["lr"], run["cell"], run["batch_size"]) == (lr, cell, 32)
        assert "init_seed" not in run or run["init_seed"] is None


def test_networks_that_give_tensors_are_parents(root):
    found = generate(
        catalog.open(root), "deepweightflow", where=OURS, n=5, null_count=4,
        settings=[*QUICK, 'tensors=["layer0.*"]'],
    )  # fmt: skip
    store = catalog.open(root)
    training = open_generator(found["file"]).training_
    rest = training.layout.slices["layer1.weight"]
    for row in rows_of(root, found):
        (parent,) = row["parents"]
        assert parent["role"] == "tensors"
        own = store.load(f"run_id = '{row['run_id']}'").weights[0]
        at = training["run_id"].tolist().index(parent["run_id"])
        assert own[rest].tolist() == training.weights[at, rest].tolist()


def test_what_is_outside_is_refused_before_a_fit(root, tmp_path):
    to = tmp_path / "g.safetensors"
    with pytest.raises(CatalogError, match="give --extrapolate"):
        generate(
            catalog.open(root), "deepweightflow", where=OURS, settings=QUICK, to=to,
            conditions=["validation_accuracy=1.5"],
        )  # fmt: skip
    assert not to.exists()
    with pytest.raises(CatalogError, match=r"'paper'.* takes no condition"):
        generate(
            catalog.open(root), "deepweightflow", where=OURS, settings=["preset=paper"],
            conditions=["validation_accuracy=0.9"], to=to,
        )  # fmt: skip


def test_the_published_settings_are_generated(root):
    arguments = ["generate", "deepweightflow", "--catalog", str(root), "--where", OURS]
    arguments += ["-n", "4", "--nulls", "4", "--temperature", "0.5"]
    for setting in ("preset=paper", "iterations=30", "width=16", "components=8"):
        arguments += ["--set", setting]
    told = CliRunner().invoke(phasezoo, [*arguments, "--json"])
    assert told.exit_code == 0, told.output
    kept = json.loads(told.stdout)["provenance"]
    assert kept["settings"]["velocity"] == "published_mlp"
    assert kept["settings"]["schedule"]["iterations"] == 30
    assert kept["sampling"] == {"temperature": 0.5}
