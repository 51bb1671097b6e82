import numpy as np
import pytest

from probes.judging.bootstrap import bca_interval, group_draws, left_out, without_errors
from probes.judging.scores import SCORES

SCORE = {score.name: score for score in SCORES}


def test_each_stratum_draws_as_many_groups_as_it_has():
    found = group_draws([3, 5], 200, np.random.default_rng(0))
    assert found.shape == (200, 8)
    assert (found[:, :3].sum(1) == 3).all()
    assert (found[:, 3:].sum(1) == 5).all()
    assert found.mean() == pytest.approx(1)
    assert (left_out([1, 2]).sum(1) == 2).all()


def covered(score, truth, population, trials=150, groups=30, rows=4):
    """How often an interval from correlated rows holds the true value."""
    hits, naive = 0, 0
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        y, predicted = population(rng, groups, rows)
        n = len(y)
        for each, group in (("group", np.repeat(np.arange(groups), rows)), ("row", None)):
            own = np.arange(n) if group is None else group
            size = own.max() + 1
            weighted = SCORE[score].of(y[:, None], predicted[:, None], y[:, None], own)
            replicates = weighted(group_draws([size], 400, rng))[:, 0]
            jackknife = weighted(left_out([size]))[:, 0]
            point = weighted(np.ones((1, size)))[0, 0]
            low, high = bca_interval(point, replicates, jackknife)
            inside = low <= truth <= high
            hits += inside and each == "group"
            naive += inside and each == "row"
    return hits / trials, naive / trials


def test_intervals_of_r2_hold_the_truth_where_rows_of_a_group_are_alike():
    def population(rng, groups, rows):
        shared = np.repeat(rng.standard_normal((groups, 2)), rows, axis=0)
        y = shared[:, 0] + 0.1 * rng.standard_normal(groups * rows)
        return y, shared[:, 0] + 0.5 * shared[:, 1]

    truth = 1 - (0.25 + 0.01) / (1 + 0.01)
    groups, rows = covered("r2", truth, population)
    assert groups > 0.88
    assert rows < groups - 0.1  # which is why groups are drawn


def test_intervals_of_accuracy_hold_the_truth():
    def population(rng, groups, rows):
        right = np.repeat(rng.random(groups) < 0.8, rows)
        return np.ones(groups * rows), right * 1.0

    groups, rows = covered("accuracy", 0.8, population)
    assert groups > 0.88
    assert rows < groups


def test_what_cannot_have_an_interval_has_none():
    replicates = np.random.default_rng(0).standard_normal(100)
    assert np.isnan(bca_interval(0.0, replicates, np.zeros(1))).all()
    assert np.isnan(bca_interval(np.nan, replicates, np.zeros(5))).all()
    broken = np.where(np.arange(100) < 20, np.nan, replicates)
    assert np.isnan(bca_interval(0.0, broken, np.zeros(5))).all()
    assert bca_interval(1.0, np.ones(100), np.ones(5)) == (1.0, 1.0)
    assert without_errors(10) == pytest.approx(1 - 0.3085, abs=1e-4)  # tables: 10 of 10
