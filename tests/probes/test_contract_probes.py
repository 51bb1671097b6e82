"""What every registered probe promises; a new one is picked up by its line."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from catalog import CatalogError, Layout, LayoutMismatch, Param
from probes import load, save
from probes.estimators import PROBES
from probes.file import about
from probes.targets import TASKS

SMALL = {"n_probes": 6, "n_projections": 6, "n_representation": 6, "validation": 0}
SMALL |= {"epochs": 30, "lr": 0.03}

CHEAP: dict[str, dict[str, object]] = {
    "tucker": {"ranks": (1, 4), "folds": 3},
    "probex": SMALL,
    "mvprobe": SMALL,
}
"""Parameters that make a probe fast enough for tests, by its name."""

QUICK = {name: {"epochs": 12, "lr": 0.08} for name in ("probex", "mvprobe")}
"""Fewer epochs, enough for scikit-learn's own thresholds, which are low."""

EXPECTED: dict[str, dict[str, str]] = {}
"""scikit-learn's checks that a probe fails, by its name, and why."""

ONE_LAYER: tuple[str, ...] = ()
"""Probes that read one layer, and say so when they are given several."""

CHOOSES = ("kernel", "linear", "statistics", "tucker")
"""Probes that choose something on held-out groups."""

LAYOUT = Layout(
    (
        Param("first.weight", (6, 5)),
        Param("first.bias", (6,)),
        Param("second.weight", (4, 6)),
        Param("q.lora_A.weight", (2, 5)),
        Param("q.lora_B.weight", (4, 2)),
    )
)
KINDS = ("regression", "columns", "binary", "multiclass", "multilabel")


def made(name, **params):
    return PROBES[name](**{**CHEAP.get(name, {}), **params})


def networks(n=40, seed=0):
    return np.random.default_rng(seed).standard_normal((n, LAYOUT.d)).astype(np.float32)


def targets(X, kind):
    base = X[:, LAYOUT.slices["first.weight"]][:, :3].astype(np.float64)
    if kind == "regression":
        return base[:, 0] * 2 + 1
    if kind == "columns":
        return base * 2 + 1
    if kind == "binary":
        return np.where(base[:, 0] > 0, "good", "bad")
    if kind == "multiclass":
        return np.array([3, 5, 9])[base.argmax(1)]
    return (base > 0).astype(int)


def task(kind):
    return "regression" if kind in ("regression", "columns") else "classification"


each_probe = pytest.mark.parametrize("name", PROBES)
each_kind = pytest.mark.parametrize("kind", KINDS)


def test_there_are_probes():
    assert "linear" in PROBES


@parametrize_with_checks(
    [made(name, task=task, **QUICK.get(name, {})) for name in PROBES for task in TASKS],
    expected_failed_checks=lambda probe: EXPECTED.get(probe.name, {}),
)
def test_sklearn(estimator, check):
    check(estimator)


@each_probe
def test_names_and_summaries(name):
    kind = PROBES[name]
    assert kind.name == name
    assert 0 < len(kind.summary) <= 72
    assert not kind.summary.endswith(".")


@each_probe
@each_kind
def test_every_kind_of_target_is_learnt_and_kept(name, kind, tmp_path):
    X = networks()
    y = targets(X, kind)
    groups = np.repeat(np.arange(20), 2)
    params = {"task": task(kind), "layout": LAYOUT, "layer": "first.weight"}
    probe = made(name, **params).fit(X, y, groups)
    predicted = probe.predict(X)
    assert predicted.shape == y.shape
    if task(kind) == "regression":
        assert np.isfinite(predicted).all()
    else:
        assert set(np.unique(predicted)) <= set(np.unique(y))
        width = () if kind == "binary" else (3,)
        assert probe.decision_function(X).shape == (len(X), *width)
    save(probe, tmp_path / "probe.safetensors", {"where": "width = 8"})
    again = load(tmp_path / "probe.safetensors")
    np.testing.assert_array_equal(again.predict(X), predicted)
    assert type(again) is PROBES[name]
    assert about(tmp_path / "probe.safetensors") == {"where": "width = 8"}


@each_probe
@pytest.mark.parametrize("layer", [None, "q.weight", ["second.weight", "first.weight"]])
def test_several_layers_and_low_rank_ones_are_read(name, layer, tmp_path):
    X = networks()
    y = targets(X, "columns")
    if name in ONE_LAYER and layer != "q.weight":
        with pytest.raises(ValueError, match="layer"):
            made(name, layout=LAYOUT, layer=layer).fit(X, y)
        return
    probe = made(name, layout=LAYOUT, layer=layer).fit(X, y)
    save(probe, tmp_path / "probe")
    np.testing.assert_array_equal(load(tmp_path / "probe").predict(X), probe.predict(X))
    assert np.isfinite(probe.predict(X)).all()


@each_probe
def test_the_order_of_networks_and_dtypes_change_little(name):
    X = networks()
    y = targets(X, "regression")
    probe = made(name, layout=LAYOUT, layer="first.weight").fit(X, y)
    np.testing.assert_allclose(
        probe.predict(X[::-1])[::-1], probe.predict(X), rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose(
        probe.predict(X.astype(np.float64)), probe.predict(X), rtol=1e-3, atol=1e-3
    )


@each_probe
@each_kind
def test_a_layer_that_all_share_carries_nothing_and_is_no_nan(name, kind):
    X = networks()
    y = targets(X, kind)
    X[:, LAYOUT.slices["second.weight"]] = 0.3
    params = {"task": task(kind), "layout": LAYOUT}
    probe = made(name, **params, layer="second.weight").fit(X, y)
    if kind in ("regression", "columns"):
        expected = np.broadcast_to(y.mean(0), y.shape)
        np.testing.assert_allclose(probe.predict(X), expected, rtol=0.02, atol=0.02)
    assert len(np.unique(probe.predict(X), axis=0)) == 1


@each_probe
def test_a_constant_target_is_predicted(name):
    X = networks()
    probe = made(name, layout=LAYOUT, layer="first.weight").fit(X, np.full(40, 0.7))
    np.testing.assert_allclose(probe.predict(X), 0.7, atol=0.02)


@each_probe
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(name, value):
    X = networks()
    y = targets(X, "regression")
    probe = made(name, layout=LAYOUT, layer="first.weight")
    X[3, 4] = value
    with pytest.raises(ValueError, match=r"(?i)nan|infinity"):
        clone(probe).fit(X, y)
    probe.fit(networks(), y)
    with pytest.raises(ValueError, match=r"(?i)nan|infinity"):
        probe.predict(X)


@each_probe
def test_one_class_and_wrong_groups_are_refused(name):
    X = networks()
    probe = made(name, task="classification", layout=LAYOUT, layer="first.weight")
    with pytest.raises(ValueError, match="one class"):
        probe.fit(X, np.ones(len(X), int))
    with pytest.raises(ValueError, match="groups has 3 rows"):
        probe.fit(X, targets(X, "binary"), [0, 1, 2])
    with pytest.raises(ValueError, match="each 0 or 1"):
        probe.fit(X, np.full((len(X), 2), 7))


@each_probe
def test_one_group_is_refused_where_groups_are_held_out(name):
    X = networks()
    probe = made(name, layout=LAYOUT, layer="first.weight")
    y = targets(X, "regression")
    if name in CHOOSES:
        with pytest.raises(ValueError, match="one group"):
            probe.fit(X, y, np.zeros(len(X)))
    else:
        probe.fit(X, y, np.zeros(len(X)))


@each_probe
def test_wrong_layouts_are_refused(name):
    X = networks()
    y = targets(X, "regression")
    with pytest.raises(LayoutMismatch, match=r"layout=population\.layout"):
        made(name, layout=LAYOUT, layer="first.weight").fit(X[:, :-1], y)
    with pytest.raises(CatalogError, match=r"first\.weight"):
        made(name, layout=LAYOUT, layer="frist.weight").fit(X, y)
    probe = made(name, layout=LAYOUT, layer="first.weight").fit(X, y)
    with pytest.raises(ValueError, match="features"):
        probe.predict(X[:, :-1])
    with pytest.raises(ValueError, match="task"):
        made(name, task="ranking").fit(X, y)
