"""Scores under weightings of groups are scores of the resampled rows."""

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)

import probes.judging.scores
from probes.judging.scores import SCORES, scores_of

BY_NAME = {score.name: score for score in SCORES}
GROUPS = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 5, 5, 6, 7, 7, 7, 8, 9, 9])


def problem(kind, width=2, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((20, width)).round(1)
    scores = (y + rng.standard_normal(y.shape)).round(1)  # ties
    if kind == "values":
        return y, scores, scores
    if kind == "labels":
        return (y > 0) * 1.0, (scores > 0) * 1.0, scores
    return rng.integers(0, 3, (20, 1)), rng.integers(0, 3, (20, 1)), scores


ORACLES = {
    "r2": ("values", lambda y, p, s: r2_score(y, p)),
    "mae": ("values", lambda y, p, s: mean_absolute_error(y, p)),
    "tau": ("values", lambda y, p, s: kendalltau(y, p).statistic),
    "accuracy": ("classes", lambda y, p, s: accuracy_score(y, p)),
    "balanced_accuracy": ("classes", lambda y, p, s: balanced_accuracy_score(y, p)),
    "auc": ("labels", lambda y, p, s: roc_auc_score(y, s)),
}


def test_every_score_has_an_oracle_and_every_kind_of_target_scores():
    assert set(ORACLES) == set(BY_NAME)
    for kind in ("regression", "binary", "multiclass", "multilabel"):
        assert scores_of(kind)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("name", ORACLES)
def test_they_are_those_of_the_resampled_rows(name, monkeypatch):
    monkeypatch.setattr(probes.judging.scores, "_BYTES", 3 * 8 * 20)
    kind, oracle = ORACLES[name]
    y, predicted, scores = problem(kind)
    weighted = BY_NAME[name].of(y, predicted, scores, GROUPS)
    rng = np.random.default_rng(1)
    weightings = rng.multinomial(10, np.full(10, 0.1), 20).astype(float)
    weightings[0] = 1
    found = weighted(weightings)
    assert found.shape == (20, y.shape[1])
    for weights, values in zip(weightings, found, strict=True):
        rows = np.repeat(np.arange(20), weights[GROUPS].astype(int))
        for column, value in enumerate(values):
            own = (part[rows, column] for part in (y, predicted, scores))
            assert value == pytest.approx(oracle(*own), abs=1e-12)


def test_labels_are_scored_one_by_one():
    y, predicted, scores = problem("labels", 3)
    for name in ("accuracy", "balanced_accuracy"):
        found = BY_NAME[name].of(y, predicted, scores, GROUPS)(np.ones((1, 10)))[0]
        for column in range(3):
            alone = ORACLES[name][1](y[:, column], predicted[:, column], None)
            assert found[column] == pytest.approx(alone)


def test_what_has_no_score_is_nan_and_constant_predictions_order_nothing():
    y, group, one = np.arange(4.0)[:, None], np.arange(4), np.ones((1, 4))
    same = np.zeros((4, 1))
    assert BY_NAME["tau"].of(y, same, same, group)(one) == 0
    assert np.isnan(BY_NAME["tau"].of(same, y, y, group)(one)).all()
    assert np.isnan(BY_NAME["r2"].of(same, y, y, group)(one)).all()
    assert np.isnan(BY_NAME["auc"].of(same, y, y, group)(one)).all()


def test_far_targets_lose_no_digits():
    y, predicted, scores = problem("values")
    near = BY_NAME["r2"].of(y, predicted, scores, GROUPS)(np.ones((1, 10)))
    far = BY_NAME["r2"].of(y + 1e6, predicted + 1e6, scores, GROUPS)(np.ones((1, 10)))
    np.testing.assert_allclose(far, near, rtol=1e-8)
