import numpy as np
import pyarrow as pa
import pytest

import catalog
from catalog import Layout, LayoutMismatch, NotFound, Param, Population, Selection
from probes import sweep
from probes.estimators.linear import LinearProbe

LAYOUT = Layout(
    (
        Param("first", (5, 4)),
        Param("bias", (5,)),
        Param("second", (3, 6), dtype="float64"),
        Param("half", (4, 4), dtype="bfloat16"),
        Param("q.lora_A", (2, 6)),
        Param("q.lora_B", (5, 2)),
    )
)
RUNS, STEPS = 40, 2


@pytest.fixture(scope="module")
def population():
    """Checkpoints of a run are near each other; what is learnt lies in one layer."""
    rng = np.random.default_rng(0)
    weights = np.repeat(rng.normal(size=(RUNS, LAYOUT.d)), STEPS, axis=0)
    weights = (weights + 0.1 * rng.normal(size=weights.shape)).astype(np.float32)
    half = weights[:, LAYOUT.slices["half"]]
    half.view(np.uint32)[:] &= 0xFFFF0000
    second = weights[:, LAYOUT.slices["second"]].astype(float)
    table = {
        "run_id": np.repeat([f"r{i}" for i in range(RUNS)], STEPS),
        "step": np.tile(np.arange(STEPS), RUNS),
        "test_accuracy": second[:, 0],
        "test_loss": second[:, 3] - second[:, 1],
    }
    return Population(weights, LAYOUT, pa.table(table))


@pytest.fixture(scope="module")
def selection(population, tmp_path_factory) -> Selection:
    store = catalog.open(tmp_path_factory.mktemp("zoo"), create=True)
    ids = [f"r{i}" for i in range(RUNS)]
    runs = {"run_id": ids, "zoo": ["zoo"] * RUNS, "source": ["trained"] * RUNS}
    with store.writer() as writer:
        writer.commit(pa.table(runs), population.table, population)
    return store.refreshed().select("true ORDER BY test_loss")


def test_each_layer_is_judged_as_by_its_own_probe(population):
    y = ["test_accuracy", "test_loss"]
    found = sweep(population, y, groups="run_id")
    assert found.layers == ("first", "second", "half", "q")
    assert found.best == "second"
    values = np.stack([population[name] for name in y], axis=1)
    for i, layer in enumerate(found.layers):
        probe = LinearProbe(layout=LAYOUT, layer=layer)
        probe.fit(population.weights, values, population["run_id"])
        assert found.alphas[i] == probe.alpha_
        np.testing.assert_allclose(found.r2[i].mean(), probe.path_.mean(1).max(), atol=1e-5)
        assert found.scores[i] == pytest.approx(probe.held_out_score_, abs=1e-5)
    table = found.table
    assert table["layer"][0].as_py() == "second"
    assert table["r2"].to_pylist() == sorted(table["r2"].to_pylist(), reverse=True)
    assert {"r2_test_accuracy", "r2_test_loss"} <= set(table.column_names)
    assert found.r2[1].mean() > 0.9 > 0.3 > found.r2[[0, 2, 3]].mean(1).max()
    assert abs(found.baseline) < 0.3


def test_layers_are_read_one_by_one_from_a_catalogue(population, selection, monkeypatch):
    monkeypatch.setattr(Selection, "population", None)  # never all weights
    at = {key: i for i, key in enumerate(_keys(population.table))}
    rows = [at[key] for key in _keys(selection.table)]
    shuffled = Population(population.weights[rows], LAYOUT, population.table.take(rows))
    for options in ({}, {"vectors": True}, {"layers": ["half", "q"], "scale": "sample"}):
        options |= {"root": population.weights[0], "groups": "run_id"}
        ours = sweep(selection, "test_accuracy", **options)
        memory = sweep(shuffled, "test_accuracy", **options)
        assert ours.layers == memory.layers
        np.testing.assert_allclose(ours.r2, memory.r2, atol=1e-5)
        np.testing.assert_allclose(ours.error, memory.error, atol=1e-5)


def _keys(table):
    return zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)


def test_classes_have_an_accuracy_beside_that_of_the_most_frequent(population):
    kind = np.where(population["test_accuracy"] > 0.3, "high", "low")
    found = sweep(population, kind, task="classification", groups="run_id")
    assert found.best == "second"
    most = max(np.unique(kind, return_counts=True)[1]) / len(kind)
    assert found.scores.max() > most + 0.1
    assert found.baseline <= most + 1e-9
    kind = np.where(np.arange(len(kind)) < 9, "other", kind)
    found = sweep(population, kind, task="classification", groups="run_id")
    assert found.targets == ("high", "low", "other")


def test_the_error_of_a_score_covers_the_score_on_many_networks():
    rng = np.random.default_rng(0)
    layout, inside = Layout((Param("w", (2, 5)),)), 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=(60, 10)).astype(np.float32)
        y = weights[:, 0] + rng.normal(size=60)
        table = pa.table({"run_id": [str(i) for i in range(60)], "step": [0] * 60})
        found = sweep(Population(weights, layout, table), y, alphas=[0.3])
        probe = LinearProbe(alphas=[0.3]).fit(weights, y)
        fresh = rng.normal(size=(4000, 10)).astype(np.float32)
        truth = fresh[:, 0] + rng.normal(size=4000)
        apart = np.square(truth - probe.predict(fresh)).sum()
        r2 = 1 - apart / np.square(truth).sum()
        inside += abs(found.r2[0, 0] - r2) < 1.96 * found.error[0]
    assert 33 <= inside <= 40


def test_what_is_not_there_is_named(population, selection):
    with pytest.raises(NotFound, match="test_accuracy"):
        sweep(population, "test_acuracy")
    with pytest.raises(NotFound, match="second"):
        sweep(selection, "test_accuracy", layers=["secnd"])
    with pytest.raises(ValueError, match="80 networks"):
        sweep(population, np.zeros(3))
    with pytest.raises(ValueError, match="one group"):
        sweep(population, "test_accuracy", groups=np.zeros(80))
    with pytest.raises(LayoutMismatch, match="one row of weights"):
        sweep(population, "test_accuracy", root=np.zeros(3))
    column = pa.array([None] + [0.5] * 79)
    missing = Population(
        population.weights, LAYOUT, population.table.append_column("gap", column)
    )
    with pytest.raises(ValueError, match="1 of 80 networks have no finite 'gap'"):
        sweep(missing, "gap")
    broken = population.weights.copy()
    broken[7, 3] = np.nan
    with pytest.raises(ValueError, match="row 7"):
        sweep(Population(broken, LAYOUT, population.table), "test_accuracy")
