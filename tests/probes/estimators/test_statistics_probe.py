import numpy as np
import pytest

import probes.statistics.boosting
import probes.statistics.smooth
from catalog import CatalogError, Layout, Param
from probes import load, save
from probes.estimators.statistics_probe import StatisticsProbe
from probes.statistics.boosting import _library
from probes.statistics.weight_statistics import WeightStatistics

LAYOUT = Layout((Param("a", (6, 5)), Param("b", (6,)), Param("c", (4, 6))))
MODELS = ("smooth", "ridge", "boosting")


def planted(n=120, seed=0):
    """The target is the scale of one layer, which no single weight tells."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, LAYOUT.d)).astype(np.float32)
    scale = rng.uniform(0.5, 2, n)
    X[:, LAYOUT.slices["a"]] *= scale[:, None].astype(np.float32)
    return X, scale


@pytest.fixture(params=MODELS)
def model(request, monkeypatch):
    if request.param == "boosting":
        try:
            _library()
        except (ModuleNotFoundError, CatalogError) as error:
            pytest.skip(str(error))
        monkeypatch.setattr(probes.statistics.boosting, "ROUNDS", 80)
        monkeypatch.setattr(probes.statistics.boosting, "LEAVES", (4,))
    return request.param


def test_a_planted_scale_is_found(model):
    X, y = planted()
    probe = StatisticsProbe(layout=LAYOUT, model=model).fit(X[:80], y[:80])
    assert probe.score(X[80:], y[80:]) > 0.7
    shuffled = np.random.default_rng(1).permutation(y)
    blind = StatisticsProbe(layout=LAYOUT, model=model).fit(X[:80], shuffled[:80])
    assert blind.score(X[80:], y[80:]) < 0.3


def test_classes_are_found_and_kept(model, tmp_path):
    X, scale = planted(480)
    y = np.array(["low", "mid", "high"])[np.digitize(scale, [1, 1.5])]
    probe = StatisticsProbe("classification", LAYOUT, model=model).fit(X[:80], y[:80])
    assert probe.score(X[80:], y[80:]) > 0.45  # chance is a third
    save(probe, tmp_path / "probe")
    np.testing.assert_array_equal(load(tmp_path / "probe").predict(X), probe.predict(X))


def test_a_fit_to_statistics_reads_weights_afterwards(tmp_path):
    X, y = planted(40)
    F = WeightStatistics(LAYOUT).fit_transform(X)
    described = StatisticsProbe(described=True).fit(F, y)
    reading = described.reading(LAYOUT, aggregate=False)
    np.testing.assert_array_equal(reading.predict(X), described.predict(F))
    own = StatisticsProbe(layout=LAYOUT).fit(X, y)
    np.testing.assert_allclose(reading.predict(X), own.predict(X))
    save(reading, tmp_path / "probe")
    np.testing.assert_array_equal(load(tmp_path / "probe").predict(X), own.predict(X))


def test_with_as_many_landmarks_as_rows_the_kernel_is_exact_and_with_fewer_close(
    monkeypatch,
):
    X, y = planted(100)
    whole = StatisticsProbe(layout=LAYOUT).fit(X[:60], y[:60])
    monkeypatch.setattr(probes.statistics.smooth, "LANDMARKS", 40)
    part = StatisticsProbe(layout=LAYOUT).fit(X[:60], y[:60])
    assert len(part.smooth_.landmarks) == 40
    a, b = whole.predict(X[60:]), part.predict(X[60:])
    assert np.corrcoef(a, b)[0, 1] > 0.97
    assert (a != b).any()


def test_the_kernel_fit_is_that_of_kernel_ridge():
    from sklearn.kernel_ridge import KernelRidge

    from probes.statistics.smooth import Smooth

    rng = np.random.default_rng(0)
    A, y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2))
    fit = Smooth.of(A, y, np.arange(30), (0.1,), 0, widths=(2.0,))
    # An unpenalised intercept: the kernel is centred, which KernelRidge is given ready.
    K = np.exp(-np.square(A[:, None] - A).sum(-1) / fit.width)
    centred = K - K.mean(0) - K.mean(1)[:, None] + K.mean()
    unit = centred.trace() / 30
    ridge = KernelRidge(alpha=0.1 * unit, kernel="precomputed")
    expected = ridge.fit(centred, y - y.mean(0)).predict(centred) + y.mean(0)
    np.testing.assert_allclose(fit.scores(A), expected, atol=1e-8)


def test_unknown_models_and_shapes_are_refused():
    X, y = planted(20)
    with pytest.raises(ValueError, match="'forest'"):
        StatisticsProbe(model="forest").fit(X, y)
    with pytest.raises(ValueError, match="'log'"):
        StatisticsProbe(shape="log").fit(X, y)


def test_boosting_without_its_library_says_what_to_install(monkeypatch):
    import catalog.console.extras

    monkeypatch.setattr(catalog.console.extras, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as error:
        StatisticsProbe(model="boosting").fit(*planted(20))
    assert "phasezoo[boosting]" in str(catalog.console.extras.advice(error.value))
