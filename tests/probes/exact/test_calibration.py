import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.utils.estimator_checks import parametrize_with_checks

from probes import load, save
from probes.estimators.linear import LinearProbe
from probes.exact.calibration import probabilities, score_calibration


@parametrize_with_checks([LinearProbe("classification", calibrated=True)])
def test_sklearn(estimator, check):
    check(estimator)


def test_factor_and_offset_are_those_of_logistic_regression():
    rng = np.random.default_rng(0)
    s = 0.4 + 0.1 * rng.normal(size=(4000, 2))
    y = (rng.random((4000, 2)) < expit(30 * (s - 0.35))).astype(float)
    factor, offset = score_calibration(s, y, exclusive=False)
    for j in range(2):
        plain = LogisticRegression(C=1e6).fit((s[:, j : j + 1] - 0.4) * 10, y[:, j])
        assert factor[j] == pytest.approx(plain.coef_[0, 0] * 10, rel=0.02)
    np.testing.assert_allclose(-offset / factor, 0.35, atol=0.01)


def test_what_says_nothing_or_the_opposite_has_the_base_rate():
    y = np.repeat([1.0, 0.0, 0.0, 0.0], 100)[:, None]
    for scores in (np.zeros((400, 1)), -y):
        factor, offset = score_calibration(scores, y, exclusive=False)
        found = probabilities(factor * scores + offset, exclusive=False)
        np.testing.assert_allclose(found, 0.25, atol=0.01)


@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_on_new_networks_are_honest_where_fitted_values_are_not(classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1300, 200))
    logits = 1.5 * X[:, :classes]
    logits[:, 0] += 1
    y = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    probe = LinearProbe("classification", calibrated=True).fit(X[:300], y[:300])
    given = probe.predict_proba(X[300:])
    np.testing.assert_allclose(given.sum(1), 1)
    base = np.bincount(y[:300]) / 300
    chance = log_loss(y[300:], np.tile(base, (1000, 1)))
    raw = LinearProbe("classification").fit(X[:300], y[:300]).decision_function(X[300:])
    raw = np.stack([0.5 - raw, 0.5 + raw], 1) if classes == 2 else raw + 0.5
    raw = np.clip(raw, 1e-3, None)
    raw /= raw.sum(1, keepdims=True)
    assert log_loss(y[300:], given) < min(chance, log_loss(y[300:], raw)) - 0.01
    sure = given.max(1)
    right = given.argmax(1) == y[300:]
    assert sure.mean() == pytest.approx(right.mean(), abs=0.05)


def test_it_is_kept_and_only_for_classes(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 9))
    probe = LinearProbe("classification", calibrated=True).fit(X, X[:, 0] > 0)
    save(probe, tmp_path / "probe")
    again = load(tmp_path / "probe")
    np.testing.assert_array_equal(again.predict_proba(X), probe.predict_proba(X))
    assert not hasattr(LinearProbe("classification"), "predict_proba")
    with pytest.raises(ValueError, match="calibrated=False"):
        LinearProbe(calibrated=True).fit(X, X[:, 0])
