"""Measuring stored checkpoints: what is stored, resumed, refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import catalog
import zoo
from catalog import CatalogError, LayoutMismatch, NotFound
from catalog.version import __version__
from zoo.measuring.measure import measure
from zoo.measuring.plan import jobs_of, selected_rows
from zoo.metrics import METRICS, metrics, scores
from zoo.metrics.settings import with_settings
from zoo.networks import ALL_PAIRS
from zoo.recipe import Axis, Recipe
from zoo.stored import networks
from zoo.task import load_task
from zoo.tasks import TASKS


@pytest.fixture
def root(tiny_zoo, tmp_path):
    """A catalogue of its own with eight runs, half of which diverged, at three steps."""
    shutil.copytree(tiny_zoo.root, tmp_path / "zoo")
    return tmp_path / "zoo"


def test_scores_are_those_of_training_and_broken_networks_have_none(root):
    done = measure(root, "tiny", ["scores"], workers=1)
    assert done.measured == {"scores": done.checkpoints} == {"scores": 24}
    assert done.seconds["scores"] > 0
    rows = catalog.open(root).sql(
        "SELECT finite, train_loss, evaluated_train_loss, evaluated_test_error, "
        "test_accuracy, evaluated_validation_error_se FROM models WHERE train_loss < 1e6"
    )
    rows = rows.fetchall()
    assert len(rows) > 10
    for finite, loss, evaluated, error, accuracy, se in rows:
        assert finite
        assert evaluated == pytest.approx(loss, rel=0.2)  # 500 of 1,200 against all
        assert error == pytest.approx(1 - accuracy, abs=1e-6)
        assert 0 <= se < 0.05
    lost = (
        "SELECT count(*) FROM models WHERE NOT finite AND evaluated_train_loss IS NOT NULL"
    )
    assert catalog.open(root).sql(lost).fetchall() == [(0,)]


def test_what_was_measured_is_not_measured_again_unless_settings_differ(root):
    first = measure(root, "tiny", ["scores"], where="seed = 0", workers=1)
    rest = measure(root, "tiny", ["scores"], workers=1)
    assert (first.measured["scores"], rest.measured["scores"]) == (12, 12)
    assert rest.known == {"scores": 12}
    none = measure(root, "tiny", ["scores"], workers=1)
    other = measure(root, "tiny", [replace(scores, samples=50)], steps="last", workers=1)
    again = measure(root, "tiny", ["scores"], steps="last", again=True, workers=1)
    assert [d.measured["scores"] for d in (none, other, again)] == [0, 8, 8]


def test_provenance_says_how(root, started_workers):
    measure(root, "tiny", ["scores"], steps="last", seed=3, workers=1)
    found = catalog.open(root).sql("SELECT DISTINCT provenance FROM measures").fetchall()
    ((text,),) = found
    said = json.loads(text)
    fingerprint = "SELECT any_value(data_fingerprint) FROM runs"
    assert said == {
        "metric": "scores", "version": scores.version, "samples": 10_000, "seed": 3,
        "data": catalog.open(root).sql(fingerprint).fetchall()[0][0],
        "phasezoo": __version__,
    }  # fmt: skip


def test_two_workers_give_what_one_gives(root, tiny_zoo, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_zoo.root, other)
    columns = "run_id, step, evaluated_train_loss, evaluated_test_error"
    query = f"SELECT {columns} FROM models ORDER BY ALL"
    measure(root, "tiny", ["scores"], workers=1)
    measure(other, "tiny", ["scores"], workers=2)
    one, two = (catalog.open(path).sql(query).fetchall() for path in (root, other))
    for a, b in zip(one, two, strict=True):
        assert a[:2] == b[:2]
        assert (None in a) == (None in b)
        assert None in a or a[2:] == pytest.approx(b[2:], rel=1e-5)


def test_an_imported_network_is_measured_where_its_task_is_known(root, tmp_path):
    zoo_ = catalog.open(root)
    population = zoo_.load("finite AND width = 4 AND step = steps")
    np.savez(tmp_path / "nets.npz", **population.layout.unflatten(population.weights))
    catalog.import_source(root, tmp_path / "nets.npz", format="npz_stacked", zoo="foreign")
    with pytest.raises(CatalogError, match="--task NAME"):
        measure(root, "foreign", ["scores"], workers=1)
    network = population.table["architecture"][0].as_py()
    other = json.dumps({**json.loads(network), "sizes": [64, 5, 10]})
    with pytest.raises(LayoutMismatch, match="not those of mlp") as refused:
        networks_of_foreign(root, other)
    assert "(4, 64)" in str(refused.value)
    measure(root, "foreign", ["scores"], task="digits", architecture=network, workers=1)
    found = catalog.open(root).sql("SELECT max(evaluated_test_error) FROM models")
    expected = 1 - min(population["test_accuracy"])
    assert found.fetchall()[0][0] == pytest.approx(expected, abs=1e-6)


def networks_of_foreign(root, architecture):
    store = catalog.open(root)
    keys = store.sql("SELECT run_id, step FROM models WHERE zoo = 'foreign'").fetchall()
    data = load_task(TASKS["digits"])
    return networks(
        store, keys, data, torch.device("cpu"), task="digits", architecture=architecture
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"zoo": "tinny"}, "Closest: tiny"),
        ({"where": "width = 77"}, "No checkpoint of 'tiny' with weights matches"),
        ({"where": "widht = 4"}, "SQL error"),
        ({"task": "mnist"}, "trained with the task digits, and --task states mnist"),
        ({"where": "true) OR (true GROUP BY run_id"}, "SQL error"),
        ({"where": "true GROUP BY run_id"}, "is not a condition"),
        ({"where": "write_log('x') IS NULL"}, "cannot call write_log"),
        ({"metrics": ["scoers"]}, "Closest: scores"),
        ({"steps": "first"}, "must be one of all, last"),
        ({"workers": 0}, "must be 1 or more"),
    ],
)
def test_what_is_wrong_is_said(root, arguments, message):
    given = {"zoo": "tiny", "metrics": ["scores"], "workers": 1, **arguments}
    with pytest.raises(CatalogError, match=message):
        measure(root, **given)


def test_the_condition_picks_models_of_which_those_of_the_zoo_are_measured(root):
    store = catalog.open(root)
    last = "step = steps -- AND false"
    assert {row["step"] for row in selected_rows(store, "tiny", last, "all")} == {
        row["steps"] for row in selected_rows(store, "tiny", "true", "all")
    }
    chosen = selected_rows(store, "tiny", "true ORDER BY step DESC, run_id LIMIT 2", "all")
    every = selected_rows(store, "tiny", "true", "all")
    wanted = sorted(every, key=lambda row: (-row["step"], row["run_id"]))[:2]
    assert [row["run_id"] for row in chosen] == [row["run_id"] for row in wanted]


def test_settings_are_checked():
    (found,) = with_settings(["scores"], ["scores.samples=20"])
    assert found == replace(scores, samples=20)
    for text, error, message in (
        ("scores.samples", CatalogError, "METRIC.FIELD=VALUE"),
        ("scores.sample=2", NotFound, "Closest: samples"),
        ("scores.samples=x", CatalogError, "Got 'x'. .*--set scores.samples=10000"),
        ("other.samples=2", CatalogError, "Add --metric other"),
    ):
        with pytest.raises(error, match=message):
            with_settings(["scores"], [text])
    with pytest.raises(CatalogError, match="Add --only other"):
        with_settings(["noise"], ["other.samples=2"], "--only")


def test_jobs_are_whole_cells_of_one_architecture(root):
    rows = selected_rows(catalog.open(root), "tiny", "true", "all")
    of_key = {(row["run_id"], row["step"]): row for row in rows}
    for paired in (False, True):
        metric = next(m for m in metrics("landscape").values() if m.paired == paired)
        known = {(rows[0]["run_id"], rows[0]["step"])}
        jobs = jobs_of(metric, rows, known, workers=2)
        keys = [key for job in jobs for key in job]
        assert len(keys) == len(set(keys)) == len(rows) - (not paired)
        for job in jobs:
            assert len({of_key[key]["arch_id"] for key in job}) == 1
        if paired:
            place = {key: i for i, job in enumerate(jobs) for key in job}
            cells = {}
            for key, row in of_key.items():
                cells.setdefault((row["cell"], row["step"]), set()).add(place[key])
            assert all(len(found) == 1 for found in cells.values())


def test_metrics_are_known_by_name():
    assert METRICS["scores"] is scores
    assert zoo.measure is measure


def test_settings_are_those_of_the_command_line(root, tmp_path):
    texts, values = ["scores.samples=60"], {"scores.samples": 60}
    found = [
        measure(root, "tiny", ["scores"], settings=own, steps="last", workers=1)
        for own in (texts, values)
    ]
    assert [one.measured["scores"] for one in found] == [8, 0]
    whole, floating = {"hessian.tolerance": 0.0625}, ["hessian.tolerance=0.0625"]
    assert with_settings(["hessian"], whole) == with_settings(["hessian"], floating)
    (one,) = with_settings(["mode_connectivity"], {"mode_connectivity.epochs": 3})
    assert json.dumps(one.provenance()["epochs"]) == "3.0"  # the id of its measures
    for own in (["scores.samples=x"], {"scores.samples": "60"}, {"other.samples": 60}):
        with pytest.raises(CatalogError, match="samples"):
            measure(tmp_path / "none", "tiny", ["scores"], settings=own)
    assert not (tmp_path / "none").exists()


def test_going_back_to_earlier_settings_measures_again(root):
    few = replace(scores, samples=50)
    counts, losses = [], []
    for metric in (scores, few, scores, scores):
        done = measure(root, "tiny", [metric], steps="last", workers=1)
        counts.append(done.measured["scores"])
        query = "SELECT max(evaluated_train_loss) FROM models WHERE finite"
        losses.append(catalog.open(root).sql(query).fetchall()[0][0])
    assert counts == [8, 8, 8, 0]
    assert losses[0] == losses[2] == losses[3] != losses[1]


def test_seeds_are_compared_with_those_that_a_condition_leaves_out(root):
    query = "SELECT avg(weight_distance), count(weight_distance) FROM models WHERE finite"
    part = measure(
        root, "tiny", ["weight_distance"], where="seed = 0", steps="last", workers=1
    )
    assert part.measured["weight_distance"] == 8  # both seeds of four cells
    found = catalog.open(root).sql(query).fetchall()
    rest = measure(root, "tiny", ["weight_distance"], steps="last", workers=1)
    assert rest.measured["weight_distance"] == 0
    assert found[0][1] > 0


def test_runs_with_classes_of_their_own_are_measured(tmp_path):
    recipe = Recipe(
        "subsets", "digits of three classes", "-", "a second", "digits", "mlp",
        load=Axis("width", (4,)), temperature=Axis("lr", (0.02, 0.05)), seeds=range(2),
        steps=40, settings={"classes": (1, 7, 3), "batch_size": 10, "train_samples": 20},
    )  # fmt: skip
    zoo.train(recipe, tmp_path, workers=1)
    measure(tmp_path, "subsets", ["scores", "weight_distance"], workers=1)
    query = "SELECT min(chance_loss), max(evaluated_test_error) FROM models"
    ((chance, error),) = catalog.open(tmp_path).sql(query).fetchall()
    assert 0.6 < chance <= np.log(3) + 1e-9
    assert 0 < error < 1


def test_jobs_are_bounded_in_bytes_and_large_cells_are_cut():
    rows = [
        {"run_id": f"{i:08x}", "step": 1, "zoo": "z", "cell": "c", "arch_id": "a",
         "parameters": 1 << 22}
        for i in range(64)
    ]  # fmt: skip
    alone = jobs_of(scores, rows, set(), workers=2)
    assert max(len(job) for job in alone) == 4  # 16 MB each, 64 MB a job
    paired = jobs_of(METRICS["weight_distance"], rows, set(), workers=2)
    assert all(5 <= len(job) <= ALL_PAIRS for job in paired)
    assert sum(len(job) for job in paired) == 64
