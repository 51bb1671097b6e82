"""Labels in the catalogue: the measures, the verb, the pictures."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

import catalog
from catalog import CatalogError, NotFound
from catalog.report.page import write_report
from catalog.report.phase_pictures import (
    landscape_maps,
    phase_diagram,
    phase_movement,
    phase_regions,
)
from zoo.phases import label_zoo
from zoo.phases.cli import phases

WIDTHS, RATES, SEEDS, STEPS = (1, 2, 4, 8), (0.1, 0.2, 0.4), (0, 1), (0, 50, 100)


def metrics(width, rate, share, seed):
    """Wide, cool and trained networks are fitted; narrow ones meet a barrier."""
    loss = 2.3 * np.exp(-share * 2.5 * np.log2(width + 1) * (0.6 if rate > 0.3 else 1.2))
    return {
        "train_loss": loss * (1 + 0.05 * seed),
        "mode_connectivity": -0.2 if width < 3 else 0.0,
        "mode_connectivity_se": 0.002,
        "logit_cka": 0.3 + 0.6 * (rate < 0.15) * (width > 2),
        "logit_cka_se": 0.01,
        "hessian_trace": 50 * loss - 5,
        "test_accuracy": 1 - loss / 3,
    }


def make_zoo(root, *, name="grid", task="digits", without=(), dead=(), checkpoints=True):
    runs, points = [], []
    for width in WIDTHS:
        for rate in RATES:
            for seed in SEEDS:
                run_id = f"{name}-{width}-{rate}-{seed}"
                gone = (width, rate, seed) in dead
                runs.append(
                    {
                        "run_id": run_id, "zoo": name, "source": "trained",
                        "cell": f"w{width} r{rate}", "load": float(width),
                        "temperature": rate, "load_axis": "width",
                        "temperature_axis": "lr", "seed": seed, "steps": 100,
                        "task_name": task, "status": "diverged" if gone else "finished",
                        "diverged_step": 60 if gone else None,
                    }
                )  # fmt: skip
                for step in STEPS:
                    values = metrics(width, rate, step / 100, seed)
                    values = {k: v for k, v in values.items() if k not in without}
                    points.append(
                        {"run_id": run_id, "step": step, "epoch": step / 10, **values}
                    )
    store = catalog.open(root, create=True)
    with store.writer() as writer:
        writer.commit(pa.Table.from_pylist(runs), pa.Table.from_pylist(points))
    return store.refreshed()


@pytest.fixture
def zoo(tmp_path):
    return make_zoo(tmp_path / "zoo", dead={(8, 0.1, 0), (8, 0.4, 0), (8, 0.4, 1)})


def rows(store, query):
    return store.refreshed().sql(query).fetchall()


def test_every_checkpoint_gets_the_label_of_its_cell(zoo):
    found = label_zoo(zoo, "grid")
    labels = {
        (c, s): p
        for c, s, p in zip(found.cells.cell, found.cells.step, found.phase, strict=True)
    }
    stored = rows(zoo, "SELECT cell, step, status, phase, phase_reason FROM models")
    assert len(stored) == len(WIDTHS) * len(RATES) * len(SEEDS) * len(STEPS)
    for cell, step, status, phase, reason in stored:
        if status == "diverged" and step >= 60:
            assert phase == "unmeasured"
            assert reason.startswith("diverged")
        else:
            assert phase == labels[cell, step]
            assert (reason == "") == (phase != "unmeasured")
    assert {"I", "II", "III", "IV-A", "IV-B", "unmeasured"} >= {r[3] for r in stored}
    assert rows(zoo, "SELECT DISTINCT phase FROM models WHERE step = 0 AND load < 3") == [
        ("I",)
    ]


def test_scores_sum_to_one_and_provenance_has_the_cutoffs(zoo):
    found = label_zoo(zoo, "grid", seed=5)
    sums = rows(
        zoo,
        "SELECT phase_score_i + phase_score_ii + phase_score_iii + phase_score_iv_a + "
        "phase_score_iv_b, phase_confidence, phase_stability FROM models "
        "WHERE phase <> 'unmeasured'",
    )
    assert all(abs(total - 1) < 1e-9 for total, _, _ in sums)
    assert all(0 < sure <= 1 and 0 <= stable <= 1 for _, sure, stable in sums)
    ((text,),) = rows(zoo, "SELECT DISTINCT provenance FROM measures")
    kept = json.loads(text)
    assert (kept["seed"], kept["classes"], kept["version"]) == (5, 10, 2)
    assert kept["train_loss"] == {"train_loss": 72}
    assert kept["measures"] == {}
    cutoff = kept["cutoffs"]["train_loss"]
    assert cutoff["value"] == found.calibration.cutoffs.train_loss.value
    assert cutoff["anchors"]["chance"] == pytest.approx(np.log(10))


def test_labelling_again_replaces(zoo):
    label_zoo(zoo, "grid")
    before = {p for (p,) in rows(zoo, "SELECT DISTINCT phase FROM models")}
    assert before >= {"III", "IV-B"}
    label_zoo(zoo.refreshed(), "grid", train_loss=1e-12)
    after = {p for (p,) in rows(zoo, "SELECT DISTINCT phase FROM models")}
    assert after == {"I", "II", "unmeasured"}


def test_labelling_again_without_news_commits_nothing(zoo):
    label_zoo(zoo, "grid")
    version = zoo.refreshed().version
    label_zoo(zoo.refreshed(), "grid")
    assert zoo.refreshed().version == version


def test_nothing_of_it_needs_torch():
    code = (
        "import sys, zoo.phases.cli, zoo.phases.store, zoo.task, zoo.tasks; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_label_that_is_lost_leaves_no_number_behind(tmp_path):
    """Measures that turn out not to be finite: NaN replaces, as a null would not."""
    store = make_zoo(tmp_path, without=("mode_connectivity", "mode_connectivity_se"))
    ids = rows(store, "SELECT run_id, step FROM models WHERE step = 100 ORDER BY run_id")
    for values in ([0.0] * len(ids), [float("nan")] * len(ids)):
        run_ids, steps = zip(*ids, strict=True)
        kept = [0.0] * 4 + values[4:]  # those of two cells
        table = {"run_id": run_ids, "step": steps, "mode_connectivity": kept}
        with store.writer() as writer:
            writer.commit_measures(pa.table(table), "curve", {})
        store = store.refreshed()
        label_zoo(store, "grid")
    stored = rows(
        store,
        "SELECT phase, phase_confidence, phase_reason FROM models WHERE step = 100",
    )
    assert stored.count(("unmeasured", None, "no finite mode_connectivity")) == 20
    sure = "SELECT count(*), count(DISTINCT phase) FROM models WHERE phase_confidence > 0"
    assert rows(store, sure) == [(4, 1)]
    early = rows(
        store, "SELECT DISTINCT phase, phase_confidence FROM models WHERE step = 0"
    )
    assert early == [("unmeasured", None)]


def test_only_the_steps_that_were_asked_for_are_labelled_with_the_same_cutoffs(zoo):
    last = label_zoo(zoo, "grid", step="last")
    assert set(last.cells.step) == {100}
    assert rows(zoo, "SELECT count(phase) FROM models WHERE step < 100") == [(0,)]
    one = label_zoo(zoo, "grid", step=50)
    assert one.calibration == last.calibration == label_zoo(zoo, "grid").calibration
    with pytest.raises(NotFound, match=r"grid has no step 7\. It has: 0, 50, 100"):
        label_zoo(zoo, "grid", step=7)


@pytest.mark.parametrize(
    ("options", "call", "error", "message"),
    [
        ({}, {"zoo": "gird"}, NotFound, "No zoo 'gird'.*Closest: grid"),
        (
            {"without": ("logit_cka",)},
            {},
            CatalogError,
            "grid has no logit_cka.*phasezoo measure grid",
        ),
        ({"task": "moons"}, {}, CatalogError, "number of classes of moons .*--classes 10"),
        ({}, {"classes": 1}, CatalogError, "must be at least 2. Got 1"),
    ],
)
def test_what_is_missing_is_named(tmp_path, options, call, error, message):
    store = make_zoo(tmp_path, **options)
    with pytest.raises(error, match=message):
        label_zoo(store, **{"zoo": "grid", **call})
    assert rows(store, "SELECT count(*) FROM measures") == [(0,)]


def test_a_zoos_own_phase_column_is_not_hidden_silently(tmp_path):
    store = make_zoo(tmp_path)
    with store.writer() as writer:
        runs = {
            "run_id": ["x"],
            "zoo": ["other"],
            "source": ["imported"],
            "phase": ["early"],
        }
        writer.commit(pa.table(runs), pa.table({"run_id": ["x"], "step": [0]}))
    with pytest.raises(
        CatalogError, match=r"imported runs .* columns phase, .*--rename phase="
    ):
        label_zoo(store.refreshed(), "grid")


def phasezoo(zoo, *arguments):
    result = CliRunner().invoke(phases, [*arguments, "--catalog", str(zoo.root)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_the_verb_prints_counts_cutoffs_and_sensitivity(zoo, tmp_path):
    code, out = phasezoo(zoo, "grid", "--plot", str(tmp_path / "p.svg"))
    assert code == 0
    for text in (
        "IV-B",
        "geometric mean of the anchors",
        "chance 2.3",
        "moved",
        "diverged",
    ):
        assert text in out
    assert (tmp_path / "p.svg").read_text().count("<svg") == 1
    code, out = phasezoo(zoo, "grid", "--step", "last", "--cka", "0.2", "--json")
    document = json.loads(out)
    assert document["cutoffs"][2]["cutoff"] == 0.2
    assert sum(row["cells"] for row in document["phases"]) >= 12
    counted = rows(
        zoo, "SELECT phase, avg(test_accuracy) FROM models WHERE step = 100 GROUP BY 1"
    )
    found = {row["phase"]: row["test_accuracy"] for row in document["phases"]}
    assert found == {phase: pytest.approx(mean) for phase, mean in counted}


@pytest.mark.parametrize("wrong", [("--step", "first"), ("--plot", "p.jpg")])
def test_what_the_command_line_refuses_stores_nothing(zoo, wrong):
    assert phasezoo(zoo, "grid", *wrong)[0] == 2
    assert rows(zoo, "SELECT count(phase) FROM models") == [(0,)]


def test_pictures_show_every_phase_and_what_is_not_measured(zoo, tmp_path):
    assert phase_regions(zoo, "grid") is None
    assert phase_movement(zoo, "grid") is None
    assert phase_diagram(zoo, "grid") is None
    label_zoo(zoo, "grid")
    store = zoo.refreshed()
    found = {p for (p,) in rows(zoo, "SELECT DISTINCT phase FROM models WHERE step = 100")}
    figure = phase_regions(store, "grid")
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert texts >= found - {"unmeasured"}
    assert "x" in texts  # the cell of which both seeds diverged
    titles = [ax.get_title() for ax in landscape_maps(store, "grid").axes]
    assert any(
        title.startswith("log10 Hessian trace\n- : not positive") for title in titles
    )
    moving = phase_movement(store, "grid")
    assert [ax.get_title() for ax in moving.axes][:3] == [
        "after 0.0%", "after 50.0%", "after 100.0%",
    ]  # fmt: skip
    shown = phase_diagram(store, "grid", 50)
    shown.savefig(tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_the_report_has_a_section_of_phases(zoo, tmp_path):
    label_zoo(zoo, "grid")
    write_report(zoo.refreshed(), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for title in ("Phases", "Phases during training", "Loss landscape"):
        assert f"<h3>{title}</h3>" in page
