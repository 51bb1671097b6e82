"""phasezoo probe apply: what a saved probe says of other networks, and how good that is."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

import catalog
from catalog import Population
from catalog.schema import PARENTS
from probes.file import about
from probes.fitting.apply import apply_probe
from probes.fitting.fit import fit_probe


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("statistics", "test_accuracy"),
        ("linear", "size"),
        ("linear", "saw_*"),
        ("linear", "seen=CASE WHEN saw_cat = 1 THEN ['cat'] ELSE ['dog', 'fish'] END"),
    ],
)
def test_applying_scores_what_was_not_learnt_from_as_the_fit_did(zoo, name, target):
    store, where = catalog.open(zoo), "zoo = 'narrow'"
    fitted = fit_probe(store, name, [target], where=where)
    table, _, applied = apply_probe(catalog.open(zoo), fitted["file"], where=where)
    for one, judged in zip(applied.estimates, fitted["estimates"], strict=True):
        assert one.score == judged.pop("score")
        found = {key: getattr(one, key) for key in judged}
        assert found == pytest.approx(judged, rel=1e-6)
    assert (applied.judged_on, applied.groups) == (fitted["judged_on"], fitted["groups"])
    assert applied.learnt_from == fitted["learnt_from"] == len(table) - applied.judged_on


def test_networks_that_are_all_new_are_scored_and_those_all_learnt_from_are_not(
    phasezoo, zoo, tmp_path
):
    file = tmp_path / "probe.safetensors"
    some = "zoo = 'narrow' AND run_id < 'narrow-040'"
    fit = ("--target", "test_accuracy", "--to", file, "--where", some)
    phasezoo("statistics", *fit, "--folds", "3")
    new = phasezoo("apply", file, "--where", f"zoo = 'narrow' AND NOT ({some})")
    assert new.out.startswith("20 networks in 20 groups:")
    assert "r2" in new.out
    assert "Left out of the score" not in new.err
    one = phasezoo("apply", file, "--where", "run_id = 'narrow-040'")
    assert one.out.startswith("1 network in 1 group:")
    assert "No interval: only 1 group of related runs was scored" in one.out
    both = phasezoo("apply", file, "--where", "zoo = 'narrow'", "--json")
    assert "Left out of the score: 40 of the training set" in both.err
    assert "r2 on 20 networks in 20 groups: " in both.err
    assert len(json.loads(both.out)) == 60
    none = phasezoo("apply", file, "--where", some)
    assert "No score: all 40 networks" in none.err
    assert "groups:" not in none.out


def test_checkpoints_of_one_run_are_one_group(zoo):
    found = fit_probe(
        catalog.open(zoo), "linear", ["test_accuracy"], where="zoo = 'narrow'"
    )
    _, _, applied = apply_probe(
        catalog.open(zoo), found["file"], where="zoo = 'narrow'", steps="all"
    )
    assert applied.judged_on == 2 * applied.groups == 2 * found["groups"]
    assert applied.learnt_from == 2 * found["learnt_from"]


def test_classes_that_the_probe_does_not_know_are_wrong_answers(zoo):
    known = "kind=CASE WHEN test_accuracy < 0.5 THEN 'a' WHEN saw_dog = 1 THEN 'b' ELSE "
    fitted = fit_probe(
        catalog.open(zoo), "linear", [known + "'c' END"],
        where="zoo = 'narrow' AND saw_dog = 1",
    )  # fmt: skip
    _, _, applied = apply_probe(
        catalog.open(zoo), fitted["file"], where="zoo = 'narrow' AND saw_dog = 0"
    )
    scores = {one.score: one for one in applied.estimates}
    assert scores["accuracy"].value == scores["accuracy"].baseline == 0


def test_a_catalogue_without_the_target_gets_predictions_and_the_reason(
    zoo, tmp_path, monkeypatch
):
    found = fit_probe(catalog.open(zoo), "linear", ["size"], where="zoo = 'narrow'")
    body = about(found["file"])
    lacking = {**body["provenance"], "targets": {"size": '"no_such_column"'}}
    monkeypatch.setattr("probes.file.about", lambda path: {**body, "provenance": lacking})
    table, _, applied = apply_probe(
        catalog.open(zoo), found["file"], where="zoo = 'narrow'"
    )
    assert applied.estimates == []
    assert "No score: " in applied.note
    assert "no_such_column" in applied.note
    assert table["linear_size"].null_count == 0


# ------------------------------------------------------------------ what is new to a probe

NUMBER = "right(run_id, 3)::INT"


def split_of(table, target="test_accuracy"):
    column = next(c for c in table.column_names if c.endswith(f"{target}_split"))
    return Counter(table[column].to_pylist())


def test_other_seeds_of_learnt_cells_are_kin_and_cells_are_resampled(zoo):
    some = f"zoo = 'narrow' AND {NUMBER} < 36 AND {NUMBER} % 3 > 0"
    fitted = fit_probe(
        catalog.open(zoo), "linear", ["test_accuracy"], where=some, by="cell", deal=4
    )
    file, where = fitted["file"], "zoo = 'narrow'"
    table, _, applied = apply_probe(catalog.open(zoo), file, where=where)
    assert (applied.learnt_from, applied.kin, applied.judged_on) == (24, 12, 24)
    assert applied.groups == 8
    assert split_of(table) == {"train": 24, "kin": 12, "new": 24}
    seeds = f"{where} AND {NUMBER} < 36 AND {NUMBER} % 3 = 0"
    _, _, none = apply_probe(catalog.open(zoo), file, where=seeds)
    assert none.estimates == []
    assert (none.learnt_from, none.kin) == (0, 12)
    assert "related to it by cell" in none.note


def test_the_interval_of_cells_is_that_of_the_fit(zoo):
    where = "zoo = 'narrow'"
    fitted = fit_probe(
        catalog.open(zoo), "linear", ["test_accuracy"], where=where, by="cell"
    )
    _, _, applied = apply_probe(catalog.open(zoo), fitted["file"], where=where)
    judged = fitted["estimates"][0]
    assert (applied.groups, applied.kin) == (fitted["groups"], 0)
    assert applied.estimates[0].low == pytest.approx(judged["low"], rel=1e-6)
    assert applied.estimates[0].high == pytest.approx(judged["high"], rel=1e-6)


def test_networks_of_learnt_zoos_are_kin_and_zoos_are_resampled(phasezoo, zoo, tmp_path):
    file = tmp_path / "probe.safetensors"
    phasezoo(
        "statistics", "--target", "test_accuracy", "--by", "zoo", "--to", file,
        "--set", "aggregate=true", "--where", f"zoo <> 'deep' AND {NUMBER} < 40",
    )  # fmt: skip
    table, _, applied = apply_probe(catalog.open(zoo), file)
    assert (applied.learnt_from, applied.kin, applied.judged_on) == (80, 40, 60)
    assert applied.groups == 1
    assert np.isnan([applied.estimates[0].low, applied.estimates[0].high]).all()
    assert split_of(table) == {"train": 80, "kin": 40, "new": 60}
    told = phasezoo("apply", file)
    assert "40 related to the training set, from its zoos" in told.err
    assert "one group by zoo: the score has no interval" in told.err


def test_children_of_what_was_learnt_from_are_kin(zoo):
    fitted = fit_probe(
        catalog.open(zoo), "linear", ["test_accuracy"], where="zoo = 'narrow'"
    )
    train, test = (about(fitted["file"])[side][0] for side in ("train", "test"))
    parents = {"of_train": [train], "of_test": [test]}
    some = catalog.open(zoo).load("zoo = 'narrow' LIMIT 2")
    made = Population(some.weights + 1, some.layout, some.table)
    store(catalog.open(zoo), made, list(parents), "children", parents)
    table, _, applied = apply_probe(
        catalog.open(zoo), fitted["file"], where="zoo = 'children'"
    )
    assert table["linear_test_accuracy_split"].to_pylist() == ["new", "kin"]
    assert (applied.kin, applied.judged_on) == (1, 1)


def test_every_training_checkpoint_is_known_by_its_weights(zoo, tmp_path):
    some = f"zoo = 'narrow' AND {NUMBER} < 50"
    fitted = fit_probe(
        catalog.open(zoo), "linear", ["test_accuracy"], where=some, steps="all", deal=3
    )
    first = catalog.open(zoo).load(f"zoo = 'narrow' AND step = 0 AND {NUMBER} >= 45")
    other = catalog.open(tmp_path / "other", create=True)
    names = [f"other{i}" for i in range(15)]
    store(other, first, names, "other")
    store(catalog.open(zoo), first, names, "other")
    for root in (other.root, zoo):
        table, _, applied = apply_probe(
            catalog.open(root), fitted["file"], where="zoo = 'other'"
        )
        assert applied.learnt_from == 5, root
        assert applied.judged_on == applied.groups == 10
        assert split_of(table) == {"train": 5, "new": 10}


def test_a_file_that_does_not_know_its_training_weights_is_refused(
    phasezoo, zoo, monkeypatch
):
    fit = ("linear", "--target", "size", "--where", "zoo = 'narrow'")
    phasezoo(*fit)
    (file,) = (zoo / "probes").iterdir()
    old = {key: value for key, value in about(file).items() if key != "learnt_from"}
    with monkeypatch.context() as patch:
        patch.setattr("probes.file.about", lambda path: old)
        done = phasezoo("apply", file)
        assert done.code == 1
        assert "phasezoo probe linear --target size --again" in done.err
        assert "Fitted before" not in phasezoo(*fit).err
    assert "Fitted before" in phasezoo(*fit).err


def store(zoo, population, names, where, parents=None):
    """Networks of one checkpoint, as a zoo of their own."""
    n = len(names)
    rows = {"run_id": names, "step": [0] * n, "test_accuracy": np.linspace(0, 1, n)}
    checkpoints = pa.table({**rows, "finite": [True] * n})
    above = [
        [{"run_id": run, "step": 10, "role": "start"} for run in (parents or {}).get(x, ())]
        for x in names
    ]
    runs = {"run_id": names, "zoo": [where] * n, "source": ["trained"] * n}
    table = pa.table({**runs, "parents": pa.array(above, PARENTS)})
    own = Population(population.weights, population.layout, checkpoints)
    with zoo.writer() as writer:
        writer.commit(table, checkpoints, own)
