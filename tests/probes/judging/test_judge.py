import numpy as np
import pytest
from sklearn.metrics import r2_score

from probes import Probe
from probes.estimators.linear import LinearProbe
from probes.judging.folds import Fold, Folds
from probes.judging.judge import judge, score_difference
from probes.judging.notes import notes

NONE = np.zeros(0, np.int64)


class Memory(Probe):
    """Knows the nearest network that it has seen, and nothing else."""

    name = "memory"
    summary = "nearest"

    def __init__(self, task="regression", layout=None, layer=None, random_state=0):
        self.task, self.layout, self.layer = task, layout, layer
        self.random_state = random_state

    def _fit(self, X, y, groups):
        self.X_, self.y_, self.rows_ = X, y, len(X)

    def _scores(self, X):
        near = np.square(X[:, None] - self.X_).sum(-1).argmin(1)
        return self.y_[near] + 0.1 * self.random_state


def fixed(n, share=0.3, groups=None, seed=0):
    groups = np.arange(n) if groups is None else groups
    side = np.random.default_rng(seed).random(groups.max() + 1) < share
    test = side[groups]
    fold = Fold("test", np.flatnonzero(~test), np.flatnonzero(test))
    return Folds("run", (fold,), groups, groups, False, NONE)


def noise(n=120, d=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal(n)


def test_who_only_remembers_scores_nothing():
    X, y = noise()
    found = judge(Memory(), X, y, fixed(120)).estimate("r2")
    assert found.value < 0
    assert found.low <= found.value <= found.high
    assert abs(found.baseline) < 0.1
    assert judge(Memory(), X, y, fixed(120)).estimate("tau").low < 0.1


def test_copies_within_runs_leak_only_if_runs_are_split():
    rng = np.random.default_rng(0)
    runs = np.repeat(np.arange(40), 3)
    X = rng.standard_normal((40, 6))[runs] + 0.01 * rng.standard_normal((120, 6))
    y = rng.standard_normal(40)[runs]
    assert judge(Memory(), X, y, fixed(120)).estimate("r2").value > 0.8
    assert judge(Memory(), X, y, fixed(120, groups=runs)).estimate("r2").value < 0


def test_a_planted_target_is_found_and_scored_as_sklearn_does():
    X, y = noise()
    y = X[:, 0] + 0.1 * y
    folds = fixed(120)
    judged = judge(LinearProbe(), X, y, folds)
    (fold,) = folds.folds
    expected = LinearProbe().fit(X[fold.train], y[fold.train]).predict(X[fold.test])
    np.testing.assert_allclose(judged.predictions(), expected)
    np.testing.assert_array_equal(judged.tested, fold.test)
    found = {one.score: one for one in judged.estimates()}
    assert found["r2"].value == pytest.approx(r2_score(y[fold.test], expected))
    assert found["r2"].low > 0.9
    trivial = np.full(len(fold.test), y[fold.train].mean())
    assert found["r2"].baseline == pytest.approx(r2_score(y[fold.test], trivial))
    assert found["tau"].baseline == 0


def test_the_test_side_is_never_fitted():
    X, y = noise()
    folds = fixed(120)
    X[folds.folds[0].test, 0] = 100 * y[folds.folds[0].test]
    judged = judge(Memory(), X, y, folds)
    assert judged.probe.rows_ == len(folds.folds[0].train)
    assert judged.estimate("r2").value < 0.5  # 1 if it were


def test_each_fold_may_be_prepared():
    X, y = noise()
    folds = fixed(120)
    seen = []

    def prepare(probe, fold):
        seen.append(fold)
        probe.set_params(random_state=7)

    judged = judge(Memory(), X, y, folds, prepare=prepare)
    assert seen == list(folds.folds)
    assert judged.probe.random_state == 7


def test_held_out_zoos_are_judged_apart_and_averaged():
    rng = np.random.default_rng(0)
    zoo = np.repeat([0, 1, 2], 40)
    X = rng.standard_normal((120, 5))
    y = 2 * X[:, 0] + 3 * zoo  # zoos differ in level: pooled R2 would flatter
    folds = tuple(
        Fold(f"zoo{z}", np.flatnonzero(zoo != z), np.flatnonzero(zoo == z))
        for z in range(3)
    )
    held = Folds("zoo", folds, zoo, np.arange(120), True, NONE)
    judged = judge(LinearProbe(alphas=[1e-3]), X, y, held)
    each = judged.by_fold()
    assert list(each) == ["zoo0", "zoo1", "zoo2"]
    values = [own[0].value for own in each.values()]
    assert judged.estimate("r2").value == pytest.approx(np.mean(values))
    assert judged.estimate("tau").value > 0.8
    assert judged.estimate("r2").value < 0


def strata(sizes, y=None):
    """Zoos of so many networks, each a cluster, held out in turn."""
    zoo, n = np.repeat(np.arange(len(sizes)), sizes), sum(sizes)
    folds = tuple(
        Fold(f"zoo{z}", np.flatnonzero(zoo != z), np.flatnonzero(zoo == z))
        for z in range(len(sizes))
    )
    X, noisy = noise(n)
    held = Folds("zoo", folds, zoo, np.arange(n), True, NONE)
    return judge(LinearProbe(), X, X[:, 0] + 0.1 * noisy if y is None else y, held)


def test_zoos_without_a_score_do_not_count_in_the_mean_and_are_named():
    y = noise(60)[0][:, 0]
    y[:20] = 1.5
    judged = strata([20, 20, 20], y)
    each = judged.by_fold()
    assert np.isnan(each["zoo0"][0].value)
    found = judged.estimate("r2")
    assert found.value == pytest.approx((each["zoo1"][0].value + each["zoo2"][0].value) / 2)
    assert found.low < found.value < found.high
    (line,) = notes(judged, judged.estimates(), each)
    assert line.startswith("No r2, tau of zoo zoo0, which the means omit: ")
    whole = strata([20, 20])
    assert notes(whole, whole.estimates(), whole.by_fold()) == []


@pytest.mark.filterwarnings("error")
def test_a_zoo_of_one_group_has_no_interval_and_neither_has_the_mean():
    judged = strata([20, 20, 1])
    each = judged.by_fold()
    mae = judged.estimate("mae")
    assert mae.value == pytest.approx(np.mean([own[2].value for own in each.values()]))
    assert np.isnan([mae.low, mae.high, each["zoo2"][2].low]).all()
    assert each["zoo1"][2].low < each["zoo1"][2].high
    # R2 of one network is not there, so that of the others has an interval.
    r2 = judged.estimate("r2")
    assert r2.low < r2.value < r2.high
    lines = notes(judged, judged.estimates(), each)
    assert lines[0].startswith("No r2, tau of zoo zoo2")
    assert lines[1].startswith("No interval of mae: only 1 cell was tested in zoo zoo2")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_one_judged_group_has_scores_and_no_interval(kind):
    X, y = noise(40)
    y = y if kind == "regression" else np.where(y > 0, "a", "b")
    groups = np.append(np.arange(30), np.full(10, 30))
    fold = Fold("test", np.arange(30), np.arange(30, 40))
    judged = judge(
        LinearProbe(task=kind), X, y, Folds("cell", (fold,), groups, groups, False, NONE)
    )
    estimates = judged.estimates()
    assert np.isfinite([e.value for e in estimates]).all()
    assert np.isnan([(e.low, e.high) for e in estimates]).all()
    assert notes(judged, estimates, {}) == [
        "No interval: only 1 cell was tested; use --folds N."
    ]


def test_seeds_are_averaged_and_widen_the_interval():
    X, y = noise()
    one = judge(Memory(), X, y, fixed(120))
    many = judge(Memory(), X, y, [fixed(120)] * 3)
    assert [len(seed) for seed in many.answers] == [1, 1, 1]
    values = [many.answers[s][0].predicted.mean() for s in range(3)]
    assert values[2] - values[0] == pytest.approx(0.2)
    assert many.estimate("r2").value != one.estimate("r2").value
    assert many.probe.random_state == 0


def test_a_better_probe_is_better_by_an_interval_that_is_narrower_than_both():
    X, y = noise(200)
    y = X[:, 0] + 0.5 * y
    folds = fixed(200)
    good, weak = judge(LinearProbe(), X, y, folds), judge(Memory(), X, y, folds)
    value, low, _ = score_difference(good, weak, "r2")
    apart = good.estimate("r2"), weak.estimate("r2")
    assert value == pytest.approx(apart[0].value - apart[1].value)
    assert low > 0
    assert score_difference(good, good, "r2") == (0, 0, 0)
    with pytest.raises(ValueError, match="differ in networks"):
        score_difference(good, judge(Memory(), X, y, fixed(200, seed=1)), "r2")


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_classes_have_their_scores_and_the_most_frequent_is_the_baseline(kind):
    X, _ = noise(200)
    y = {
        "binary": np.where(X[:, 0] > -0.7, "many", "few"),
        "multiclass": np.array([3, 5, 9])[X[:, :3].argmax(1)],
        "multilabel": (X[:, :3] > [-0.7, 0, 0.5]).astype(int),
    }[kind]
    judged = judge(LinearProbe(task="classification"), X, y, fixed(200))
    found = {one.score: one for one in judged.estimates()}
    test = judged.tested
    if kind == "binary":
        assert found["accuracy"].baseline == pytest.approx((y[test] == "many").mean())
        assert found["auc"].value > 0.9
    if kind == "multilabel":
        majority = np.array([1, y[:, 1].mean() > 0.5, 0])
        assert found["accuracy"].baseline == pytest.approx(
            (y[test] == majority).mean(), abs=0.05
        )
    assert found["accuracy"].low > found["accuracy"].baseline
    assert found["balanced_accuracy"].baseline == pytest.approx(
        1 / (3 if kind == "multiclass" else 2)
    )
    np.testing.assert_array_equal(judged.predictions().shape, y[test].shape)


def test_a_class_that_training_lacks_is_never_right():
    X, _ = noise(90)
    y = np.repeat([0, 1, 2], 30)
    X[:, 0] += 5 * y
    train = np.flatnonzero((y < 2) & (np.arange(90) % 2 == 0))
    fold = Fold("test", train, np.setdiff1d(np.arange(90), train))
    folds = Folds("run", (fold,), np.arange(90), np.arange(90), False, NONE)
    judged = judge(LinearProbe(task="classification"), X, y, folds)
    right = judged.predictions() == y[judged.tested]
    assert right[y[judged.tested] < 2].mean() > 0.9
    assert not right[y[judged.tested] == 2].any()


def test_no_error_at_all_has_a_doubt():
    X, _ = noise(40)
    X[:, 0] = np.repeat([-9, 9], 20)
    y = np.repeat([0, 1], 20)
    found = judge(LinearProbe(task="classification"), X, y, fixed(40)).estimate("accuracy")
    assert found.value == found.high == 1
    assert 0.5 < found.low < 1


def test_rows_that_do_not_match_are_refused():
    X, y = noise()
    with pytest.raises(ValueError, match="X has 120"):
        judge(Memory(), X, y, fixed(60))
