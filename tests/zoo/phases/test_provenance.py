"""What the labels of a zoo are made from: which loss, measured how, and what is missing."""

import json

import pyarrow as pa
import pytest
from click.testing import CliRunner

import catalog
from catalog import CatalogError
from catalog.report.phase_pictures import landscape_maps
from catalog.upkeep.compaction import compact
from zoo.phases import label_zoo
from zoo.phases.cli import phases
from zoo.phases.provenance import with_train_loss

LEVELS = (0.001, 0.002, 1.0, 1.2)


def make_zoo(root, *, task="digits", source="trained", seeds=3, status="finished", **own):
    """Cells w0 to w3; ``own`` are columns of the checkpoints, by value or by cell."""
    runs, points = [], []
    for i in range(len(LEVELS)):
        for seed in range(seeds):
            run_id = f"r{i}-{seed}"
            runs.append(
                {
                    "run_id": run_id, "zoo": "grid", "source": source, "cell": f"w{i}",
                    "load": float(i), "temperature": 0.1, "load_axis": "width",
                    "temperature_axis": "lr", "seed": seed, "steps": 100,
                    "task_name": task, "status": status,
                    "diverged_step": 60 if status == "diverged" else None,
                }
            )  # fmt: skip
            values = {k: v[i] if isinstance(v, tuple) else v for k, v in own.items()}
            points.append({"run_id": run_id, "step": 100, **values})
    store = catalog.open(root, create=True)
    with store.writer() as writer:
        writer.commit(pa.Table.from_pylist(runs), pa.Table.from_pylist(points))
    return store.refreshed()


def measured(store, name, provenance, where="true", **columns):
    """Commit measures of one value, or of one per cell."""
    keys = store.sql(f"SELECT run_id, step, load FROM models WHERE {where}").fetchall()
    return committed(store, keys, {name: (provenance, columns)})


def committed(store, keys, measures):
    with store.writer() as writer:
        for name, (provenance, columns) in measures.items():
            table = {"run_id": [k[0] for k in keys], "step": [k[1] for k in keys]}
            for column, value in columns.items():
                own = [
                    value[int(k[2])] if isinstance(value, tuple) else value for k in keys
                ]
                table[column] = pa.array(own, pa.float64())
            writer.commit_measures(pa.table(table), name, provenance)
    return store.refreshed()


def pairs(store, **values):
    found = {"mode_connectivity": 0.0, "logit_cka": (0.9, 0.9, 0.3, 0.3)} | values
    keys = store.sql("SELECT run_id, step, load FROM models").fetchall()
    measures = {
        name: ({"seed": 0}, {column: found[column], f"{column}_se": 0.01})
        for name, column in (("mode_connectivity",) * 2, ("cka", "logit_cka"))
    }
    return committed(store, keys, measures)


def shown(store, *arguments):
    arguments = ["grid", "--catalog", str(store.root), *arguments]
    result = CliRunner().invoke(phases, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    ("source", "train", "evaluated", "phase", "said"),
    [
        ("trained", 1.0, 0.001, "II", "train_loss of 12 checkpoints"),
        ("trained", None, 0.001, "IV-B", "evaluated_train_loss of 12 checkpoints"),
        ("imported", 1.0, 0.001, "IV-B", "evaluated_train_loss of 12 checkpoints"),
        ("imported", 1.0, None, "II", "train_loss of 12 checkpoints"),
    ],
)
def test_the_loss_that_counts_is_said(tmp_path, source, train, evaluated, phase, said):
    own = {} if train is None else {"train_loss": train}
    store = pairs(make_zoo(tmp_path, source=source, **own))
    if evaluated is not None:
        store = measured(store, "scores", {"samples": 9}, evaluated_train_loss=evaluated)
    assert f"Train loss: {said}.\n" in shown(store)
    store = store.refreshed()
    assert store.sql("SELECT DISTINCT phase FROM models").fetchall() == [(phase,)]
    query = "SELECT DISTINCT provenance FROM measures WHERE measure = 'phase'"
    kept = json.loads(store.sql(query).fetchall()[0][0])
    assert kept["train_loss"] == {said.split()[0]: 12}
    used = {"mode_connectivity", "logit_cka"}
    used |= {"evaluated_train_loss"} if said.startswith("evaluated") else set()
    ids = dict(store.sql("SELECT DISTINCT measure, measure_id FROM measures").fetchall())
    own_ids = {"evaluated_train_loss": ids.get("scores"), "logit_cka": ids["cka"]}
    own_ids["mode_connectivity"] = ids["mode_connectivity"]
    assert kept["measures"] == {name: own_ids[name] for name in used}


def test_a_loss_that_is_not_a_number_is_no_missing_one():
    nan = float("nan")
    table = pa.table(
        {
            "source": ["trained", "trained", "imported", "imported", None],
            "train_loss": [nan, None, 1.0, None, None],
            "evaluated_train_loss": [2.0, 3.0, nan, 4.0, None],
        }
    )
    found, counts = with_train_loss(table)
    assert repr(found["train_loss"].to_pylist()) == "[nan, 3.0, nan, 4.0, None]"
    assert counts == {"train_loss": 1, "evaluated_train_loss": 3}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"seeds": 1, "train_loss": LEVELS}, "one seed only"),
        ({"status": "diverged"}, "diverged: 3 of 3 seeds"),
        ({"train_loss": LEVELS}, "no finite mode_connectivity"),
    ],
)
def test_a_zoo_without_any_label_says_why_everywhere(tmp_path, options, reason):
    """Metrics that were measured and came out as null; nor need the task be known."""
    store = make_zoo(tmp_path, task="nobody's", **options)
    with pytest.raises(CatalogError, match=r"has no.*--metric mode_connectivity --metric"):
        label_zoo(store, "grid")
    store = pairs(store, mode_connectivity=None, logit_cka=None)
    out = shown(store, "--plot", str(tmp_path / "p.png"))
    assert "grid: 0 pairs (cell, step) labelled" in out
    assert f"4 unmeasured: {reason}." in out
    assert "nan" not in out
    query = "SELECT DISTINCT phase, phase_reason, phase_confidence FROM models"
    assert store.refreshed().sql(query).fetchall() == [("unmeasured", reason, None)]
    json.loads(shown(store.refreshed(), "--json"))


def test_a_metric_that_was_never_measured_is_asked_for(tmp_path):
    store = make_zoo(tmp_path, train_loss=LEVELS)
    store = measured(store, "mode_connectivity", {}, mode_connectivity=None)
    with pytest.raises(CatalogError, match=r"grid has no logit_cka:.*grid --metric cka$"):
        label_zoo(store, "grid")


def test_metrics_of_two_settings_are_not_compared(tmp_path):
    store = pairs(make_zoo(tmp_path, train_loss=LEVELS))
    label_zoo(store, "grid")
    store = measured(store.refreshed(), "cka", {"seed": 1}, "load < 2", logit_cka=0.3)
    message = (
        r"logit_cka of grid comes from 2 different.*6 checkpoints with seed 0; 6 check"
    )
    with pytest.raises(CatalogError, match=message) as error:
        label_zoo(store, "grid")
    assert "phasezoo measure grid --metric cka --again" in str(error.value)
    # Only the newest count, and a null leaves what was there.
    store = measured(store, "cka", {"seed": 1}, "load >= 2", logit_cka=0.3)
    store = measured(store, "cka", {"seed": 2}, logit_cka=None)
    label_zoo(store, "grid")
    # Nor those that are not used.
    store = measured(
        store.refreshed(), "scores", {"samples": 1}, "load < 2", chance_loss=2.3
    )
    store = measured(store, "scores", {"samples": 2}, "load >= 2", chance_loss=2.3)
    label_zoo(store, "grid")
    store = measured(
        store.refreshed(), "cka", {"seed": 3}, "load < 2", logit_cka_random=0.1
    )
    store = measured(store, "cka", {"seed": 4}, "load >= 2", logit_cka_random=0.1)
    with pytest.raises(CatalogError, match="logit_cka_random of grid comes from 2"):
        label_zoo(store, "grid")
    compact(tmp_path)  # one file of all measures, whose order is that of their shards
    store = store.refreshed()
    with pytest.raises(CatalogError, match="logit_cka_random of grid comes from 2"):
        label_zoo(store, "grid")
    label_zoo(store, "grid", cka_reference=0.1)


@pytest.mark.parametrize("task", ["text", "nobody's"])
def test_text_is_fitted_where_the_zoo_is_at_its_best(tmp_path, task):
    store = pairs(make_zoo(tmp_path, task=task, train_loss=(1.5, 1.6, 3.0, 3.2)))
    scores = {"chance_loss": 3.3, "interpolation_loss": None}
    store = measured(store, "scores", {"samples": 9}, **scores)
    out = shown(store)
    assert "best level of the zoo 1.5, chance 3.3" in out
    assert "cannot reach 0" in out
    query = "SELECT cell, any_value(phase) FROM models GROUP BY 1 ORDER BY 1"
    found = [phase for _, phase in store.refreshed().sql(query).fetchall()]
    assert found == ["IV-B", "IV-B", "II", "II"]


@pytest.mark.parametrize("judged", ["test_accuracy", "test_relative_error"])
def test_the_table_shows_what_the_task_is_judged_by(tmp_path, judged):
    own = {"train_loss": LEVELS, judged: (0.25, 0.25, 0.75, 0.5)}
    store = pairs(make_zoo(tmp_path, **own))
    head, _, two, four = shown(store).splitlines()[1:5]
    assert [name for name in head.split() if name.startswith("test_")] == [judged]
    assert two.split()[:4] == ["II", "2", "6", "0.625"]
    assert four.split()[:4] == ["IV-B", "2", "6", "0.25"]
    titles = [ax.get_title() for ax in landscape_maps(store.refreshed(), "grid").axes]
    assert [t for t in titles if "test" in t] == [
        {"test_accuracy": "test accuracy"}.get(judged, "relative error of the test split")
    ]
