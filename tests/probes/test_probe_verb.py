"""phasezoo probe, from networks in a catalogue to columns of models."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import pytest

import catalog
from catalog import Catalog, CatalogError
from catalog.console import main
from catalog.verify import verify
from probes import load
from probes.fitting.apply import apply_probe
from probes.fitting.fit import fit_probe
from probes.fitting.settings import probe_named
from probes.saving import about

VERB = EntryPoint("probe", "probes.fitting.cli:probe", "phasezoo.verbs")


@pytest.fixture
def zoo(stored_template, tmp_path):
    """A catalogue of its own: the folder, and how to ask it."""
    root = tmp_path / "zoo"
    shutil.copytree(stored_template, root)
    return root


@pytest.fixture
def phasezoo(zoo, capsys, monkeypatch):
    """Run the verb on the catalogue: exit code, stdout, stderr."""
    monkeypatch.setattr("catalog.console._verbs", lambda: {"probe": VERB})

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(["probe", *map(str, arguments), "--catalog", str(zoo)])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=int(exit_.value.code or 0), out=out, err=err)

    return run


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
    assert "Fitted before; --again" in second.err
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
    assert "No interval: only 1 cell judged; use --folds N." in done.out
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
    assert "No run here has recorded parents" in done.err
    assert "use --by run" in done.err


# ------------------------------------------------------------------ scores of apply


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
    assert "No interval: only 1 group of related runs judged" in one.out
    both = phasezoo("apply", file, "--where", "zoo = 'narrow'", "--json")
    assert "Left out of the score: 40 that were learnt from" in both.err
    assert "r2 of 20 networks in 20 groups: " in both.err
    assert len(json.loads(both.out)) == 60
    none = phasezoo("apply", file, "--where", some)
    assert "No score: the probe learnt from all 40 networks" in none.err
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
    monkeypatch.setattr("probes.saving.about", lambda path: {**body, "provenance": lacking})
    table, _, applied = apply_probe(
        catalog.open(zoo), found["file"], where="zoo = 'narrow'"
    )
    assert applied.estimates == []
    assert "No score: " in applied.note
    assert "no_such_column" in applied.note
    assert table["linear_size"].null_count == 0


def test_files_that_do_not_know_the_trivial_answer_have_no_baseline(zoo, monkeypatch):
    found = fit_probe(catalog.open(zoo), "linear", ["size"], where="zoo = 'narrow'")
    body = about(found["file"])
    old = {key: value for key, value in body.items() if key != "trivial"}
    monkeypatch.setattr("probes.saving.about", lambda path: old)
    _, _, applied = apply_probe(catalog.open(zoo), found["file"], where="zoo = 'narrow'")
    assert all(np.isnan(one.baseline) for one in applied.estimates)
    assert applied.estimates[0].value == found["estimates"][0]["value"]


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
    (("statistics", "--target", "constant", *NARROW), "nothing to learn"),
    (("statistics", "--target", "phase", *NARROW), "Measure it first"),
    (("statistics", "--target", "size", "--task", "regression"), "holds text"),
    (("statistics", "--target", "test_accuracy", "--set", "modl=1"), "Closest: model"),
    (("statistics", "--target", "test_accuracy", "--set", "model"), "NAME=VALUE"),
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
]


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
        "import sys; from probes.fitting.settings import probes_known; probes_known(); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("setting", ["epochs=x", "epochs=1.5", "lr=true", "epochs=null"])
def test_settings_have_the_type_of_their_default(setting: str) -> None:
    with pytest.raises(CatalogError, match=r"by default .*Got"):
        probe_named("probex", [setting])


def test_settings_may_be_null_or_whole_where_that_is_a_value() -> None:
    found = probe_named("probex", ["scale=null", "lr=1", "cores=8", "precision=bfloat16"])
    assert (found.scale, found.lr, found.cores) == (None, 1, 8)  # type: ignore[attr-defined]


def test_what_a_probe_refuses_is_an_error_and_not_a_traceback(zoo) -> None:
    with pytest.raises(CatalogError, match="'linear' refuses: The scale must be one of"):
        fit_probe(
            catalog.open(zoo), "linear", ["test_accuracy"], where="zoo = 'narrow'",
            settings=["scale=foo"],
        )  # fmt: skip
