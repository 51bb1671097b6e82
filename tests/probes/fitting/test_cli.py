"""phasezoo probe, from networks in a catalogue to columns of models."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

import catalog
from catalog import Catalog, CatalogError
from catalog.console.program import main
from catalog.upkeep.compaction import compact
from catalog.upkeep.verify import verify
from probes import load
from probes.file import about
from probes.fitting.apply import apply_probe
from probes.fitting.fit import fit_probe
from probes.fitting.settings import probe_named


def json_of(phasezoo, *arguments):
    done = phasezoo(*arguments, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def scores(result):
    return {one["score"]: one for one in result["estimates"]}


def models(root, columns, where="true"):
    return catalog.open(root).sql(f"SELECT {columns} FROM models WHERE {where}").fetchall()


def test_fit_judge_keep_and_write_back(phasezoo, zoo):
    found = json_of(
        phasezoo, "statistics", "--target", "test_accuracy", "--where", "zoo = 'narrow'"
    )
    assert scores(found)["r2"]["value"] > 0.5
    assert scores(found)["r2"]["low"] > scores(found)["r2"]["baseline"]
    assert (found["networks"], found["task"], found["known"]) == (60, "regression", False)
    rows = models(
        zoo,
        "run_id, step, statistics_test_accuracy, statistics_test_accuracy_split, "
        "split_by_run",
        "statistics_test_accuracy IS NOT NULL",
    )
    assert len(rows) == 60
    assert {row[1] for row in rows} == {10}
    assert all((row[3] == "test") == (row[4] == "test") for row in rows)
    probe = load(found["file"])
    population = catalog.open(zoo).load("zoo = 'narrow' AND step = 10")
    predicted = dict(
        zip(population["run_id"], probe.predict(population.weights), strict=True)
    )
    np.testing.assert_allclose([row[2] for row in rows], [predicted[r[0]] for r in rows])
    test = {row[0] for row in rows if row[3] == "test"}
    assert test.isdisjoint(about(found["file"])["train"])
    assert not verify(zoo).problems
    assert (zoo / "probes").is_dir()


def test_the_same_again_is_not_fitted_again(phasezoo, zoo):
    fit = ("statistics", "--target", "test_accuracy", "--where", "zoo = 'narrow'")
    first = phasezoo(*fit)
    version = catalog.open(zoo).version
    second = phasezoo(*fit)
    assert second.out == first.out
    assert "Fitted before; use --again" in second.err
    assert catalog.open(zoo).version == version
    assert not json_of(phasezoo, *fit, "--again")["known"]
    other = json_of(phasezoo, *fit, "--set", "model=ridge")
    assert not other["known"]
    assert len(list((zoo / "probes").iterdir())) == 2


def test_networks_of_other_shapes_are_read_and_zoos_held_out(phasezoo, zoo):
    found = json_of(
        phasezoo, "statistics", "--target", "test_accuracy", "--by", "zoo", "--steps", "all"
    )
    assert set(found["by_fold"]) == {"narrow", "wide", "deep"}
    assert found["judged_on"] == found["networks"] == 360
    assert scores(found)["tau"]["value"] > 0.2
    split = models(zoo, "DISTINCT statistics_test_accuracy_split")
    assert split == [("test",)]
    relative = json_of(
        phasezoo, "statistics", "--target", "test_accuracy", "--by", "zoo",
        "--relative", "quantile",
    )  # fmt: skip
    assert scores(relative)["tau"]["low"] > 0


@pytest.mark.parametrize("shape", ["quantile", "standard"])
def test_relative_statistics_know_the_training_networks_alone(zoo, shape):
    lines = []
    fit = {"relative": shape, "where": "zoo <> 'deep'", "announce": lines.append}
    found = fit_probe(catalog.open(zoo), "statistics", ["test_accuracy"], **fit)
    assert scores(found)["r2"]["low"] > 0
    assert not [line for line in lines if "among the predicted" in line]
    said = "run_id, statistics_test_accuracy"
    test = models(zoo, said, "statistics_test_accuracy_split = 'test'")
    run, value = test[0]
    table, _, _ = apply_probe(catalog.open(zoo), found["file"], where=f"run_id = '{run}'")
    assert table["statistics_test_accuracy"].to_pylist() == pytest.approx([value])
    # What others are judged on is nothing to it.
    fit["where"] += f" AND (split_by_run <> 'test' OR run_id IN ('{run}', '{test[1][0]}'))"
    fit_probe(catalog.open(zoo), "statistics", ["test_accuracy"], **fit)
    assert models(zoo, said, f"run_id = '{run}' AND step = 10") == [
        (run, pytest.approx(value, rel=1e-9))
    ]


def test_zoos_that_are_compared_within_themselves_are_told(phasezoo):
    fit = ("statistics", "--target", "test_accuracy", "--relative", "standard")
    held = phasezoo(*fit, "--by", "zoo", "--where", "zoo <> 'deep'")
    assert "Statistics of narrow, wide are compared among the predicted" in held.err
    file = held.out.split(": the fitted probe")[0].splitlines()[-1]
    told = phasezoo("apply", file, "--where", "zoo = 'wide'")
    assert (told.code, "are compared among" in told.err) == (0, False)
    some = phasezoo(*fit, "--where", "zoo = 'narrow'")
    file = some.out.split(": the fitted probe")[0].splitlines()[-1]
    told = phasezoo("apply", file, "--where", "zoo <> 'deep'")
    assert "Statistics of wide are compared among the predicted" in told.err


def test_labels_text_and_expressions(phasezoo, zoo):
    narrow = ("--where", "zoo = 'narrow'", "--folds", "3")
    several = json_of(phasezoo, "statistics", "--target", "saw_*", *narrow)
    assert several["columns"] == [
        "statistics_saw_cat", "statistics_saw_dog", "statistics_saw_split",
    ]  # fmt: skip
    assert set(several["by_target"]) == {"saw_cat", "saw_dog"}
    assert scores(several)["auc"]["value"] > 0.7
    text = json_of(phasezoo, "statistics", "--target", "size", *narrow)
    assert text["task"] == "classification"
    assert set(models(zoo, "DISTINCT statistics_size", "statistics_size IS NOT NULL")) == {
        ("large",), ("small",),
    }  # fmt: skip
    named = json_of(
        phasezoo, "linear", "--target", "gap=train_accuracy - test_accuracy", *narrow
    )
    assert named["columns"] == ["linear_gap", "linear_gap_split"]
    lists = "seen=CASE WHEN saw_cat = 1 THEN ['cat'] ELSE [] END"
    assert json_of(phasezoo, "statistics", "--target", lists, *narrow)["columns"][0] == (
        "statistics_seen_cat"
    )


def test_targets_that_are_null_are_left_out_and_counted(phasezoo, zoo):
    done = phasezoo("statistics", "--target", "sparse", "--where", "zoo = 'narrow'")
    assert done.code == 0
    (unknown,) = models(zoo, "count(*)", "zoo = 'narrow' AND step = 10 AND sparse IS NULL")[
        0
    ]
    assert f"Left out: {unknown} with no value of sparse." in done.err


def test_one_layer_is_read_alone_or_chosen(phasezoo, zoo):
    fit = (
        "linear",
        "--target",
        "test_accuracy",
        "--where",
        "zoo = 'narrow'",
        "--folds",
        "3",
    )
    one = json_of(phasezoo, *fit, "--layer", "layer0.weight")
    assert [p.name for p in load(one["file"]).layout] == ["layer0.weight"]
    auto = json_of(phasezoo, *fit, "--layer", "auto")
    assert auto["layer"] in ("layer0.weight", "layer1.weight")
    done = phasezoo("apply", one["file"], "--where", "zoo = 'narrow'")
    assert done.code == 0


def test_a_saved_probe_reads_other_networks_of_its_layout(phasezoo, zoo, tmp_path):
    file = tmp_path / "probe.safetensors"
    fit = ("--target", "test_accuracy", "--where", "zoo = 'narrow'", "--to", file)
    json_of(phasezoo, "linear", *fit)
    told = json_of(phasezoo, "apply", file, "--where", "zoo = 'narrow'", "--steps", "all")
    assert len(told) == 120
    assert {row["linear_test_accuracy_split"] for row in told} == {"train", "test"}
    wrong = phasezoo("apply", file, "--where", "zoo = 'wide'")
    assert wrong.code == 1
    assert "'layer0.weight' of shape (4, 5)" in wrong.err
    assert "(6, 5)" in wrong.err
    other = phasezoo("linear", *fit, "--folds", "3")
    assert other.code == 1
    assert "holds another probe" in other.err


def test_statistics_go_to_other_widths_but_to_other_depths_only_over_depth(phasezoo):
    fit = ("statistics", "--target", "test_accuracy", "--where", "zoo <> 'deep'")
    width = json_of(phasezoo, *fit)["file"]
    told = json_of(phasezoo, "apply", width, "--where", "zoo = 'wide'")
    assert {row["statistics_test_accuracy_split"] for row in told} == {"train", "test"}
    deep = phasezoo("apply", width, "--where", "zoo = 'deep'")
    assert deep.code == 1
    assert "--set aggregate=true" in deep.err
    over = json_of(phasezoo, *fit, "--set", "aggregate=true")["file"]
    told = json_of(phasezoo, "apply", over, "--where", "zoo = 'deep'")
    assert {row["statistics_test_accuracy_split"] for row in told} == {"new"}


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_one_judged_cell_has_no_interval_and_the_output_says_so(phasezoo, zoo, tmp_path):
    cells = "zoo = 'narrow' AND cell IN (SELECT cell FROM models WHERE split_by_cell = "
    one = "(SELECT min(cell) FROM models WHERE zoo = 'narrow' AND split_by_cell = 'test')"
    where = f"{cells}'train' AND zoo = 'narrow') OR (zoo = 'narrow' AND cell = {one})"
    file = tmp_path / "probe.safetensors"
    fit = ("linear", "--target", "test_accuracy", "--by", "cell", "--where", where)
    done = phasezoo(*fit, "--to", file)
    assert done.code == 0, done.err
    assert "networks in 1 group, by cell" in done.out
    assert "No interval: only 1 cell was tested; use --folds N." in done.out
    assert "nan" not in done.out
    assert "Only 1" not in done.err
    again = phasezoo(*fit, "--to", file)
    assert again.out == done.out
    dealt = phasezoo(*fit, "--folds", "3")
    assert "No interval" not in dealt.out


def test_trees_of_runs_without_parents_are_refused_before_fitting(phasezoo, monkeypatch):
    monkeypatch.setattr("probes.fitting.fit.read", None)
    where = "zoo = 'narrow' AND run_id < 'narrow-009'"
    done = phasezoo("linear", "--target", "test_accuracy", "--by", "tree", "--where", where)
    assert done.code == 1
    assert "No selected run has recorded parents" in done.err
    assert "use --by run" in done.err


NARROW = ("--where", "zoo = 'narrow'")
WRONG = [
    (("statistics", "--target", "test_acc"), "Closest: test_accuracy"),
    (("statistic", "--target", "test_accuracy"), "Closest: statistics"),
    (("statistics", "--target", "saw_x*"), "No column 'saw_x*'"),
    (("statistics", "--target", "x=no_such + 1"), "SQL error"),
    (
        ("statistics", "--target", "test_accuracy", "--where", "zoo = 'none'"),
        "No checkpoint",
    ),
    (
        ("statistics", "--target", "test_accuracy", "--where", "true GROUP BY zoo"),
        "is not a condition",
    ),
    (
        ("statistics", "--target", "test_accuracy", "--where", "setseed(0.1) IS NULL"),
        "cannot call setseed()",
    ),
    (("statistics", "--target", "constant", *NARROW), "have the same value of constant"),
    (("statistics", "--target", "phase", *NARROW), "Measure it first"),
    (("statistics", "--target", "size", "--task", "regression"), "holds text"),
    (("statistics", "--target", "test_accuracy", "--set", "modl=1"), "Closest: model"),
    (("statistics", "--target", "test_accuracy", "--set", "model"), "NAME=VALUE"),
    (("statistics", "--target", "test_accuracy", "--set", "model=x"), "'smooth', 'ridge'"),
    (("linear", "--target", "test_accuracy", "--set", "alphas=[0]"), "above 0. Got [0]"),
    (("kernel", "--target", "test_accuracy", "--set", "folds=1"), "2 folds or more"),
    (("mvprobe", "--target", "test_accuracy", "--set", "epochs=0"), "1 or more. Got 0"),
    (
        ("statistics", "--target", "test_accuracy", "--layer", "layer9.weight"),
        "layer0.weight",
    ),
    (("linear", "--target", "test_accuracy"), "3 layouts"),
    (("linear", "--target", "test_accuracy", *NARROW, "--layer", "lay"), "No tensor 'lay'"),
    (
        ("linear", "--target", "test_accuracy", *NARROW, "--relative", "standard"),
        "statistics",
    ),
    (
        ("statistics", "--target", "test_accuracy", *NARROW, "--by", "zoo"),
        "has one: narrow",
    ),
    (
        ("statistics", "--target", "test_accuracy", *NARROW, "--folds", "999"),
        "number of groups",
    ),
    (
        ("statistics", "--target", "run_id", *NARROW),
        "60 classes in 60 networks. By run, the test set has 14 classes and the training",
    ),
    (
        ("linear", "--target", "run_id", *NARROW, "--steps", "all", "--folds", "3"),
        "No class has two runs: use a --target",
    ),
    (("linear", "--target", "cell", *NARROW, "--by", "cell"), "Use --by run"),
    (("statistics", "--target", "zoo", "--by", "zoo"), "training set has none of these"),
    (
        ("linear", "--target", "test_accuracy", "--task", "classification", *NARROW),
        "use --task regression",
    ),
]


def test_classes_that_only_judged_networks_have_are_counted(phasezoo):
    target = "rare=CASE WHEN run_id < 'narrow-020' THEN run_id ELSE 'other' END"
    done = phasezoo("linear", "--target", target, *NARROW)
    assert done.code == 0, done.err
    assert " of 14 test networks have a class that no training network has" in done.err


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[w[1] for w in WRONG])
def test_what_cannot_be_is_said_before_weights_are_read(
    arguments, message, phasezoo, monkeypatch
):
    def refuse(*_, **__):
        raise AssertionError("weights were read")

    monkeypatch.setattr(Catalog, "select", refuse)
    done = phasezoo(*arguments)
    assert done.code == 1, done.err
    assert message in done.err
    assert done.out == ""


def test_usage_and_listing(phasezoo, monkeypatch, capsys):
    assert phasezoo("statistics").code == 2
    with pytest.raises(SystemExit) as exit_:
        main(["probe"])
    assert exit_.value.code == 2
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["probe", "--list", "--json"])
    names = [row["probe"] for row in json.loads(capsys.readouterr().out)]
    assert {"linear", "statistics"} <= set(names)
    with pytest.raises(SystemExit):
        main(["probe", "statistics", "--help"])
    assert "Example: phasezoo probe" in capsys.readouterr().out


def test_listing_needs_no_torch():
    code = (
        "import sys; from probes.estimators import PROBES; dict(PROBES); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("setting", ["epochs=x", "epochs=1.5", "lr=true", "epochs=null"])
def test_settings_have_the_type_of_their_default(setting: str) -> None:
    with pytest.raises(CatalogError, match=r"must be .* Got .*--set"):
        probe_named("probex", [setting])


def test_settings_may_be_null_or_whole_where_that_is_a_value() -> None:
    found = probe_named("probex", ["scale=null", "lr=1", "cores=8", "precision=bfloat16"])
    assert (found.scale, found.lr, found.cores) == (None, 1, 8)  # type: ignore[attr-defined]


def test_what_a_probe_refuses_is_an_error_and_not_a_traceback(zoo) -> None:
    with pytest.raises(CatalogError, match=r"'linear': .*alphas"):
        fit_probe(
            catalog.open(zoo), "linear", ["test_accuracy"], where="zoo = 'narrow'",
            settings={"alphas": [-1.0]},
        )  # fmt: skip


def test_settings_of_texts_and_of_values_are_one_fit(zoo) -> None:
    told = [["scale=null", "alphas=[1.0]"], {"scale": None, "alphas": [1.0]}]
    found = [
        fit_probe(
            catalog.open(zoo), "linear", ["test_accuracy"], where="zoo = 'narrow'",
            settings=settings,
        )
        for settings in told
    ]  # fmt: skip
    assert found[0]["file"] == found[1]["file"]
    assert [one["known"] for one in found] == [False, True]


def test_a_probe_with_an_infinite_parameter_is_fitted_and_known(zoo) -> None:
    found = [
        fit_probe(
            catalog.open(zoo), "kernel", ["test_accuracy"], where="zoo = 'narrow'",
            settings=["steps=2"],
        )
        for _ in range(2)
    ]  # fmt: skip
    assert [one["known"] for one in found] == [False, True]
    assert about(found[0]["file"])["provenance"]["params"]["priors"][0] == "inf"


# ------------------------------------------------------------------ columns that fits share


def test_what_was_fitted_before_is_shown_again_when_others_wrote_to_its_columns(
    phasezoo, zoo, monkeypatch
):
    fit = ("linear", "--target", "test_accuracy", "--where", "zoo = 'narrow'")
    shown = "run_id, linear_test_accuracy, linear_test_accuracy_split"
    first, before = phasezoo(*fit, "--folds", "3"), models(zoo, shown)
    other = phasezoo(*fit, "--by", "cell")
    assert before != models(zoo, shown)
    assert "Replaces the predictions of the fit " in other.err
    assert "--by run, --folds 3" in other.err

    def refuse(*_, **__):
        raise AssertionError("fitted again")

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "select", refuse)
        back = phasezoo(*fit, "--folds", "3")
    assert (back.code, back.out) == (0, first.out)
    assert models(zoo, shown) == before
    assert "which are written again" in back.err
    assert "(--by cell, no --folds)" in back.err
    version = catalog.open(zoo).version
    assert "written again" not in phasezoo(*fit, "--folds", "3").err
    assert catalog.open(zoo).version == version


def test_predictions_of_apply_over_those_of_the_fit_are_taken_back(phasezoo, zoo):
    fit = ("linear", "--target", "size", "--where", "zoo = 'narrow'", "--folds", "3")
    file = json_of(phasezoo, *fit)["file"]
    shown = "run_id, linear_size, linear_size_split"
    before = models(zoo, shown)
    told = phasezoo("apply", file, "--where", "zoo = 'narrow' AND run_id < 'narrow-020'")
    assert "Replaces the predictions of this fit for 20 networks." in told.err
    assert before != models(zoo, shown)
    back = phasezoo(*fit)
    assert "Replaces the predictions by apply of this fit for 20 networks." in back.err
    assert models(zoo, shown) == before


def test_one_column_with_two_fits_is_told(phasezoo, zoo):
    fit = ("statistics", "--target", "test_accuracy", "--where")
    phasezoo(*fit, "zoo = 'narrow'")
    mixed = phasezoo(*fit, "zoo = 'wide'")
    assert "statistics_test_accuracy also shows the predictions of" in mixed.err
    assert "--where zoo = 'narrow'" in mixed.err
    assert "Replaces" not in mixed.err
    again = phasezoo(*fit, "zoo = 'narrow'")  # nothing of it was replaced
    assert "written again" not in again.err


def test_one_label_of_several_that_was_replaced_is_written_again(phasezoo, zoo):
    narrow = ("--where", "zoo = 'narrow'", "--folds", "3")
    phasezoo("statistics", "--target", "saw_*", *narrow)
    before = models(zoo, "run_id, statistics_saw_cat, statistics_saw_dog")
    phasezoo("statistics", "--target", "saw_cat", *narrow, "--set", "model=ridge")
    back = phasezoo("statistics", "--target", "saw_*", *narrow)
    assert "which are written again" in back.err
    assert "model=ridge" in back.err
    assert models(zoo, "run_id, statistics_saw_cat, statistics_saw_dog") == before
    assert not verify(zoo).problems


def test_packed_measures_and_those_of_no_probe_are_told_too(phasezoo, zoo):
    fit = ("linear", "--target", "size", "--where", "zoo = 'narrow'")
    phasezoo(*fit)
    before = models(zoo, "run_id, linear_size")
    table = pa.table({"run_id": ["narrow-003"], "step": [10], "linear_size": ["odd"]})
    with catalog.open(zoo).writer() as writer:
        writer.commit_measures(table, "by_hand", {"file": "some.csv"})
    assert compact(zoo).shards
    back = phasezoo(*fit)
    assert "Replaces the values of 'by_hand' for 1 network." in back.err
    assert models(zoo, "run_id, linear_size") == before
