"""Bounds of what resampling knows no doubt of: all right, or all wrong."""

import numpy as np
import pytest

from probes.estimators.linear import LinearProbe
from probes.judging import exact_bounds
from probes.judging.bootstrap import without_errors
from probes.judging.folds import Fold, Folds
from probes.judging.intervals import mean_share
from probes.judging.judge import judge
from probes.judging.scores import SCORES, scores_of

TAIL = 0.025
BY_NAME = {score.name: score for score in SCORES}


def planted(y, sign=1, groups=None, task="classification"):
    """A judgement of networks that carry their target; ``sign`` -1: turned round."""
    n = len(y)
    X = np.random.default_rng(0).standard_normal((2 * n, 3))
    level = y - y.mean()
    X[:, 0] = 1e3 * np.concatenate([level, sign * level])
    own = np.arange(2 * n)
    own[n:] = n + (np.arange(n) if groups is None else groups)
    fold = Fold("test", np.arange(n), np.arange(n, 2 * n))
    folds = Folds("run", (fold,), own, own, False, fold.train[:0])
    return judge(LinearProbe(task=task), X, np.concatenate([y, y]), folds)


@pytest.mark.parametrize("score", ["accuracy", "balanced_accuracy", "auc"])
def test_all_right_and_all_wrong_have_a_doubt(score):
    y = np.repeat([0, 1], [12, 5])
    right, wrong = (planted(y, sign).estimate(score) for sign in (1, -1))
    assert (right.value, right.high, wrong.value, wrong.low) == (1, 1, 0, 0)
    share = {
        "accuracy": without_errors(17),
        "balanced_accuracy": (without_errors(12) + without_errors(5)) / 2,
        "auc": without_errors(5),
    }[score]
    assert right.low == pytest.approx(share)
    assert wrong.high == pytest.approx(1 - share)


def test_an_order_without_fault_has_a_doubt():
    y = np.arange(9.0)
    right, wrong = (planted(y, sign, task="regression").estimate("tau") for sign in (1, -1))
    low = 2 * without_errors(4) - 1
    assert (right.value, right.low, right.high) == pytest.approx((1, low, 1))
    assert (wrong.value, wrong.low, wrong.high) == pytest.approx((-1, -1, -low))


def test_groups_count_and_not_rows():
    y = np.tile([0, 1], 20)
    found = planted(y, groups=np.repeat(np.arange(4), 10))
    assert found.estimate("accuracy").low == pytest.approx(without_errors(4))
    assert found.estimate("balanced_accuracy").low == pytest.approx(without_errors(4))
    assert found.estimate("auc").low == pytest.approx(without_errors(2))


def test_every_score_with_a_worst_value_has_a_bound():
    for score in SCORES:
        assert (score.flawless is not None) == bool(np.isfinite(score.ends).all())
    assert {s.name for s in scores_of("regression") if s.flawless} == {"tau"}


def test_a_perfect_score_that_is_not_bounded_has_no_interval():
    class Known(LinearProbe):
        def _scores(self, X):
            return X[:, :1].astype(float)

    y = np.arange(20.0)
    X = np.tile(y[:, None], (1, 2))
    fold = Fold("test", np.arange(0, 20, 2), np.arange(1, 20, 2))
    folds = Folds("run", (fold,), np.arange(20), np.arange(20), False, fold.train[:0])
    found = judge(Known(), X, y, folds)
    for score in ("r2", "mae"):
        one = found.estimate(score)
        assert one.value == (score == "r2")
        assert np.isnan([one.low, one.high]).all()


@pytest.mark.parametrize("size", [(4, 4), (3, 40), (12, 5)])
def test_lower_shares_are_seldom_without_an_error(size):
    rng = np.random.default_rng(0)
    y, group = np.repeat([1, 0], size)[:, None], np.arange(sum(size))
    area = exact_bounds.of_contrasts(y, group)[0]
    # A positive is above all negatives, or anywhere among them: their AUC is the bound.
    above = rng.random((20_000, size[0])) < 2 * area - 1
    positives = np.where(above, 2, rng.random(above.shape))
    ordered = positives.min(1) > rng.random((20_000, size[1])).max(1)
    assert ordered.mean() < TAIL
    mean = exact_bounds.of_classes(y, group)[0]
    first = np.linspace(max(2 * mean - 1, 0), min(2 * mean, 1), 101)
    both = first ** size[0] * (2 * mean - first) ** size[1]
    assert (both < TAIL + 1e-12).all()


def test_lower_orders_are_seldom_without_a_fault():
    rng, y = np.random.default_rng(1), np.arange(8.0)
    told = y + 10 * rng.random((20_000, 8))
    signs = np.sign(y[:, None] - y)
    tau = (np.sign(told[:, :, None] - told[:, None]) * signs).sum((1, 2)) / 56
    bound = 2 * exact_bounds.of_orders(y[:, None], np.arange(8))[0] - 1
    assert -0.5 < bound < tau.mean()  # conservative: so good an order has faults as a rule
    assert 0 < (tau == 1).mean() < TAIL


def test_shares_of_groups_have_a_mean_and_an_interval():
    shares = np.random.default_rng(0).random(30)
    value, low, high = mean_share(shares)
    half = 1.96 * shares.std() / np.sqrt(30)
    assert value == pytest.approx(shares.mean())
    assert (value - low, high - value) == pytest.approx((half, half), rel=0.25)
    assert mean_share(np.ones(6)) == (1, without_errors(6), 1)
    assert mean_share(np.zeros(6)) == (0, 0, 1 - without_errors(6))
    assert np.isnan(mean_share(np.full(6, np.nan))).all()
    assert np.isnan(mean_share(np.ones(1))[1:]).all()


def test_equal_targets_are_no_pair():
    y = np.array([0, 0, 0, 0, 1])[:, None]
    assert exact_bounds.of_orders(y, np.arange(5))[0] == without_errors(1)
    assert exact_bounds.of_contrasts(y, np.zeros(5, int))[0] == 0
