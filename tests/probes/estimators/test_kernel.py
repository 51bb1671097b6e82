import numpy as np
import pytest

from catalog import Layout, Param
from probes.estimators.kernel import KernelProbe
from probes.estimators.linear import LinearProbe
from probes.exact.layer_weights import _slope
from probes.exact.ridge import by_size, centre

LAYERS, SIDE, SIZE = 12, 8, 128
LAYOUT = Layout(tuple(Param(f"l{i}", (SIDE, SIZE // SIDE)) for i in range(LAYERS)))


def population(strengths, n=300, seed=0):
    """Targets of which each layer holds a share, below noise."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, LAYERS, SIZE)), rng.normal(size=(n, 2))
    for layer, strength in strengths.items():
        X[:, layer] += strength * y @ rng.normal(size=(2, SIZE)) / np.sqrt(SIZE)
    y = y + 0.3 * rng.normal(size=y.shape)
    return X.reshape(n, -1).astype(np.float32), y


@pytest.mark.parametrize("groups", [np.arange(20), np.arange(20) % 6, np.arange(20) // 9])
def test_the_slope_is_that_of_finite_differences(groups):
    rng = np.random.default_rng(0)
    kernels = rng.normal(size=(3, 20, 30))
    kernels = kernels @ kernels.transpose(0, 2, 1)
    for K in kernels:
        K /= centre(K)
    y = rng.normal(size=(20, 2))
    y -= y.mean(0)

    def error(theta):
        K = np.tensordot(theta, kernels, 1) + np.eye(20)
        return _slope(np.linalg.inv(K) - 1 / 20, y, by_size(groups))

    theta = np.array([0.5, 1, 2])
    value, slope = error(theta)
    np.testing.assert_allclose(
        np.tensordot(kernels, slope),
        [(error(theta + 1e-6 * e)[0] - value) / 1e-6 for e in np.eye(3)],
        rtol=1e-5,
    )
    # The value is the exact error on held-out groups.
    joined = np.concatenate([np.linalg.cholesky(K + 1e-9 * np.eye(20)) for K in kernels], 1)
    scaled = joined * np.sqrt(np.repeat(theta, 20))
    probe = LinearProbe(alphas=[1.0], scale=None)
    probe.fit(scaled, y, groups)
    probe.set_params(alphas=[1 / probe.unit_]).fit(scaled, y, groups)
    assert np.square(probe.held_out_ - y).sum() == pytest.approx(value, rel=1e-5)


def test_layers_that_help_are_found_and_beat_one_layer_and_all_alike():
    X, y = population({0: 3.0, 5: 3.0, 7: 3.0})
    probe = KernelProbe(layout=LAYOUT).fit(X[:150], y[:150])
    alike = KernelProbe(layout=LAYOUT, priors=(np.inf,)).fit(X[:150], y[:150])
    told = KernelProbe(layout=LAYOUT, layer=["l0", "l5", "l7"], priors=(np.inf,))
    told.fit(X[:150], y[:150])
    one = LinearProbe(layout=LAYOUT, layer="l0").fit(X[:150], y[:150])
    assert {0, 5, 7} >= set(np.argsort(probe.weights_)[-2:])
    assert probe.weights_.sum() == pytest.approx(1)
    ours, *others = (p.score(X[150:], y[150:]) for p in (probe, alike, one))
    assert ours > max(others) + 0.02
    assert ours == pytest.approx(told.score(X[150:], y[150:]), abs=0.02)
    assert ours == pytest.approx(probe.path_.mean(2).max(), abs=0.05)


def test_in_noise_no_layer_is_preferred_and_nothing_is_learnt():
    X, y = population({}, n=100)
    probe = KernelProbe(layout=LAYOUT).fit(X, y)
    assert probe.path_.mean(2).max() < 0.03


def test_layers_all_alike_are_one_long_vector():
    X, y = population({0: 4.0}, n=80)
    alike = KernelProbe(layout=LAYOUT, priors=(np.inf,), alphas=[0.1]).fit(X, y)
    joined = LinearProbe(layout=LAYOUT, alphas=[0.1]).fit(X, y)
    np.testing.assert_allclose(alike.predict(X), joined.predict(X), atol=1e-3)


def test_a_constant_layer_gets_no_matrix_that_matters():
    X, y = population({0: 4.0}, n=80)
    expected = KernelProbe(layout=LAYOUT, layer=["l0", "l1"]).fit(X, y).predict(X)
    X[:, SIZE * 5 : SIZE * 6] = 0.7
    probe = KernelProbe(layout=LAYOUT, layer=["l0", "l1", "l5"]).fit(X, y)
    np.testing.assert_allclose(probe.predict(X), expected, atol=0.1)


def test_priors_that_are_none_are_refused():
    X, y = population({}, n=20)
    with pytest.raises(ValueError, match="priors"):
        KernelProbe(layout=LAYOUT, priors=(0,)).fit(X, y)
