import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GroupKFold

import probes.exact.centring
from catalog import Layout, Param
from probes.estimators.linear import LinearProbe
from probes.exact.ridge import ALPHAS
from probes.layers import layers_of

ADAPTER = Layout(
    (
        Param("q.lora_A.weight", (2, 7)),
        Param("q.lora_B.weight", (6, 2)),
        Param("w", (4, 5)),
    )
)
DEEP = Layout((Param("q.lora_A.weight", (5, 6)), Param("q.lora_B.weight", (7, 5))))


def problem(n, d, width=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.linspace(0.2, 2, d) + 3
    y = X @ rng.standard_normal((d, width)) + rng.standard_normal((n, width))
    return X, y


@pytest.mark.parametrize(("n", "d"), [(20, 50), (60, 8), (30, 30)])
@pytest.mark.parametrize("alpha", [1e-3, 0.7])
def test_the_fit_is_that_of_ridge(n, d, alpha):
    X, y = problem(n, d)
    probe = LinearProbe(alphas=[alpha], scale=None).fit(X, y)
    ridge = Ridge(alpha * probe.unit_).fit(X, y)
    Z, _ = problem(5, d, seed=1)
    np.testing.assert_allclose(probe.predict(Z), ridge.predict(Z), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(probe.coef_, ridge.coef_, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(20, 50), (60, 8)])
def test_the_penalty_and_the_errors_are_those_of_ridge_cv(n, d):
    X, y = problem(n, d)
    for per_target in (False, True):
        probe = LinearProbe(scale=None, alpha_per_target=per_target).fit(X, y[:, :1])
        alphas = np.array(ALPHAS) * probe.unit_
        cv = RidgeCV(alphas, store_cv_results=True, scoring=None).fit(X, y[:, 0])
        assert np.max(probe.alpha_) * probe.unit_ == pytest.approx(cv.alpha_)
        null = np.square((y[:, 0] - y[:, 0].mean()) * n / (n - 1)).mean()
        expected = 1 - cv.cv_results_.mean(0) / null
        good = np.array(ALPHAS) > 1e-5  # RidgeCV loses digits below
        np.testing.assert_allclose(probe.path_[good, 0], expected[good], rtol=1e-5)


@pytest.mark.parametrize(("n", "d"), [(24, 40), (40, 6)])
@pytest.mark.parametrize("scale", ["global", None])
def test_held_out_groups_are_exactly_those_of_fitting_without_them(n, d, scale):
    X, y = problem(n, d)
    rng = np.random.default_rng(2)
    groups = rng.choice(5, n, p=[0.1, 0.1, 0.2, 0.2, 0.4])
    probe = LinearProbe(alphas=[0.3], scale=scale).fit(X, y, groups)
    null, ours = np.zeros(3), np.zeros(3)
    for train, rest in GroupKFold(5).split(X, y, groups):
        refitted = Ridge(0.3 * probe.unit_ * _squared_scale(probe)).fit(X[train], y[train])
        expected = refitted.predict(X[rest])
        np.testing.assert_allclose(probe.held_out_[rest], expected, rtol=1e-7)
        ours += np.square(y[rest] - expected).sum(0)
        null += np.square(y[rest] - y[train].mean(0)).sum(0)
    np.testing.assert_allclose(probe.path_[0], 1 - ours / null)


def _squared_scale(probe):
    return probe.experts_[0].centring.scale ** 2


@pytest.mark.parametrize("root", ["mean", None, "base"])
@pytest.mark.parametrize("scale", ["global", "sample", None])
@pytest.mark.parametrize("layout", [ADAPTER, DEEP], ids=["factors", "products"])
def test_low_rank_updates_are_as_their_products(layout, root, scale, monkeypatch):
    monkeypatch.setattr(probes.exact.centring, "BLOCK", 200)
    monkeypatch.setattr("probes.exact.gram.BLOCK", 200)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((21, layout.d))
    pair = layers_of(layout)[0]
    formed = pair.of(X).reshape(21, -1)
    y = formed[:, :2]
    base = rng.standard_normal(layout.d) if root == "base" else root
    whole = pair.of(base[None]).reshape(-1) if root == "base" else root
    ours = LinearProbe(layout=layout, layer=pair.name, root=base, scale=scale)
    flat = LinearProbe(root=whole, scale=scale)
    ours.fit(X[:15], y[:15])
    flat.fit(formed[:15], y[:15])
    np.testing.assert_allclose(ours.path_, flat.path_, atol=1e-8)
    np.testing.assert_allclose(ours.held_out_, flat.held_out_, atol=1e-8)
    np.testing.assert_allclose(ours.predict(X), flat.predict(formed), atol=1e-8)
    np.testing.assert_allclose(ours.coef_.reshape(2, -1), flat.coef_, atol=1e-8)


def test_several_layers_are_one_long_vector():
    layout = Layout((Param("a", (3, 8)), Param("bias", (3,)), Param("b", (5, 6))))
    X, _ = problem(30, layout.d)
    y = X[:, 4] + X[:, 40]
    a, b = X[:, :24] - X[:, :24].mean(0), X[:, 27:] - X[:, 27:].mean(0)
    joined = np.concatenate([m / np.sqrt((m**2).mean()) for m in (a, b)], axis=1)
    ours = LinearProbe(layout=layout).fit(X, y)
    flat = LinearProbe(scale=None).fit(joined, y)
    np.testing.assert_allclose(ours.predict(X), flat.predict(joined), rtol=1e-6)
    assert ours.coef_.shape == (1, 54)


def test_networks_of_one_precision_as_of_another():
    X, y = problem(40, 90)
    far = X * 1e-3 + 5
    probes32 = LinearProbe().fit(far.astype(np.float32), y)
    probes64 = LinearProbe().fit(far, y)
    np.testing.assert_allclose(probes32.path_, probes64.path_, atol=5e-3)


def test_noise_scores_no_better_than_the_mean_and_signal_does():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 200))
    noise = LinearProbe().fit(X, rng.standard_normal(80))
    assert noise.path_.max() < 0.1
    assert noise.path_[-1] == pytest.approx(0, abs=1e-4)
    few = rng.standard_normal((80, 2)) @ rng.standard_normal((2, 200))
    signal = LinearProbe().fit(few + 0.1 * X, few[:, 0])
    assert signal.path_.max() > 0.9
    assert signal.held_out_score_ > 0.9


def test_copies_of_a_network_leak_unless_they_are_one_group():
    rng = np.random.default_rng(0)
    runs = rng.standard_normal((20, 300))
    X = np.repeat(runs, 3, 0) + 0.01 * rng.standard_normal((60, 300))
    y = np.repeat(rng.standard_normal(20), 3)
    assert LinearProbe().fit(X, y).path_.max() > 0.9
    assert LinearProbe().fit(X, y, np.repeat(np.arange(20), 3)).path_.max() < 0.2


@pytest.mark.parametrize("alphas", [[], [0.0], [-1, 2], [np.nan]])
def test_penalties_that_are_none_are_refused(alphas):
    X, y = problem(10, 4)
    with pytest.raises(ValueError, match="alphas must be"):
        LinearProbe(alphas=alphas).fit(X, y)
