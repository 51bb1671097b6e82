"""Scoring of probes on held-out networks, with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import clone

from catalog.dtypes import Array
from probes.judging.folds import Fold, Folds
from probes.judging.intervals import Averaged, confidence_intervals, over
from probes.judging.scores import ProbeScore, Weighted, scores_of
from probes.probe import Probe
from probes.targets import Targets

Prepare = Callable[[Probe, Fold], None]


@dataclass(frozen=True)
class Estimate:
    """Score with its confidence interval and its baseline.

    Attributes
    ----------
    score : str
        Name of one of `probes.judging.scores.SCORES`.
    value : float
        Mean over targets, seeds and held-out zoos or trees. A target without a score, such
        as a label of one class, is left out.
    low, high : float
        Ends of the 95 % interval, which resamples groups, and seeds if there are several.
        For predictions without an error see `probes.judging.exact_bounds`. NaN if there is
        only one group to resample.
    baseline : float
        Score of the trivial prediction: the training mean, or the most frequent class.
    """

    score: str
    value: float
    low: float
    high: float
    baseline: float


@dataclass(frozen=True)
class FoldPredictions:
    """Predictions for the test rows of one fold, by the probe and by the baseline.

    Attributes
    ----------
    rows : ndarray of int
        Test rows.
    predicted, scores : ndarray of shape (m, k), (m, width)
        Predictions and scores of the probe.
    trivial, trivial_scores : ndarray of the same shapes
        Predictions and scores of the baseline.
    """

    rows: Array
    predicted: Array
    scores: Array
    trivial: Array
    trivial_scores: Array


@dataclass(frozen=True)
class Judgement:
    """Predictions of a probe for held-out networks, and their scores.

    Attributes
    ----------
    y : ndarray of shape (n, k)
        Targets; for many classes their indices (n, 1).
    targets : Targets
        Kind and encoding of the targets.
    folds : tuple of Folds
        Folds of each seed.
    answers : tuple of tuple of FoldPredictions
        Predictions by seed and fold.
    probe : Probe
        Probe of the first seed, as fitted in its last fold.
    """

    y: Array
    targets: Targets
    folds: tuple[Folds, ...]
    answers: tuple[tuple[FoldPredictions, ...], ...]
    probe: Probe

    def predictions(self) -> Array:
        """Return predictions of the first seed for the `tested` rows, decoded."""
        rows = np.concatenate([answers.rows for answers in self.answers[0]])
        predicted = np.concatenate([answers.predicted for answers in self.answers[0]])
        predicted = predicted[np.argsort(rows)]
        if self.targets.kind in ("regression", "multilabel"):
            return predicted[:, 0] if self.targets.flat else predicted
        assert self.targets.classes is not None
        return self.targets.classes[predicted[:, 0].astype(np.int64)]

    @property
    def tested(self) -> Array:
        """Test rows, in order."""
        return np.sort(np.concatenate([answers.rows for answers in self.answers[0]]))

    def estimates(self, target: int | None = None) -> list[Estimate]:
        """Return the estimate of every score, for all targets together or for one."""
        return [self._estimate(score, target) for score in scores_of(self.targets.kind)]

    def by_fold(self) -> dict[str, list[Estimate]]:
        """Return the estimates for each held-out zoo or tree, by its name."""
        estimates = {}
        for f, fold in enumerate(self.folds[0].folds):
            answers = tuple((seed[f],) for seed in self.answers)
            part = Judgement(self.y, self.targets, self.folds, answers, self.probe)
            estimates[fold.name] = part.estimates()
        return estimates

    def estimate(self, score: str) -> Estimate:
        """Return the estimate of one score by name, for all targets together."""
        (match,) = (s for s in scores_of(self.targets.kind) if s.name == score)
        return self._estimate(match, None)

    def weighted(self, score: ProbeScore, *, trivial: bool = False) -> list[Averaged]:
        """Return the score of each seed as a function of weightings of all groups."""
        return [
            Averaged.of(self.sizes, [self._scored(score, a, trivial) for a in seed])
            for seed in self._strata
        ]

    @cached_property
    def sizes(self) -> list[int]:
        """Number of groups of each stratum."""
        return [int(self._group_of(a.rows).max()) + 1 for a in self._strata[0]]

    @cached_property
    def _strata(self) -> list[list[FoldPredictions]]:
        if self.folds[0].strata:
            return [list(seed) for seed in self.answers]
        return [[_joined(seed)] for seed in self.answers]

    def _group_of(self, rows: Array) -> Array:
        group: Array = np.unique(self.folds[0].clusters[rows], return_inverse=True)[1]
        return group

    def _scored(
        self, score: ProbeScore, answers: FoldPredictions, trivial: bool
    ) -> Weighted:
        predictions = (
            (answers.trivial, answers.trivial_scores)
            if trivial
            else (answers.predicted, answers.scores)
        )
        return score.of(self.y[answers.rows], *predictions, self._group_of(answers.rows))

    def _estimate(self, score: ProbeScore, target: int | None) -> Estimate:
        def value(of: Sequence[Averaged]) -> Callable[[Array], Array]:
            return lambda weights: np.stack([over(w(weights), target) for w in of])

        averaged = self.weighted(score)
        point, low, high = confidence_intervals(value(averaged), averaged, target)
        if averaged[0].resampled(target):
            low, high = self._widened(score, averaged[0], target, (point, low, high))
        if (baseline := score.blind) is None:
            ones = np.ones((1, sum(self.sizes)))
            baseline = float(value(self.weighted(score, trivial=True))(ones).mean())
        return Estimate(score.name, point, low, high, baseline)

    def _widened(
        self,
        score: ProbeScore,
        averaged: Averaged,
        target: int | None,
        interval: tuple[float, float, float],
    ) -> tuple[float, float]:
        """Return the interval, with an exact bound if all is right or all is wrong."""
        point, low, high = interval
        if point not in score.ends:
            return low, high
        if score.flawless is None:  # the score has no exact bound
            return np.nan, np.nan
        shares = [
            score.flawless(self.y[a.rows], self._group_of(a.rows)) for a in self._strata[0]
        ]
        share = float(over(averaged.mean(np.stack(shares))[None], target)[0])
        worst, best = score.ends
        if point == best:
            return worst + share * (best - worst), best
        return worst, best - share * (best - worst)


def judge(
    probe: Probe,
    X: Array,
    y: Array,
    folds: Folds | Sequence[Folds],
    *,
    prepare: Prepare | None = None,
) -> Judgement:
    """Fit a probe in every fold, and predict the test rows of the fold.

    A test row is used only for the score. Hyperparameters such as a penalty are chosen on
    the training rows, by `Folds.inside`. The training rows are copied once, unless they are
    consecutive.

    Parameters
    ----------
    probe : Probe
        Probe to clone; its ``random_state``, if it has one, is set to the seed.
    X : ndarray of shape (n, d)
        Weights of n networks.
    y : ndarray of shape (n,) or (n, k)
        Targets of the networks.
    folds : Folds, or one for each seed
        Folds of each seed 0, 1, ...
    prepare : callable, optional
        Function ``prepare(probe, fold)`` that sets parameters of an unfitted probe, such
        as the layer to read, from the training rows of the fold.

    Raises
    ------
    ValueError
        If shapes disagree, or a training set has only one class.
    """
    all_folds = [folds] if isinstance(folds, Folds) else list(folds)
    y = np.asarray(y)
    if not all_folds or any(len(f.groups) != len(X) for f in all_folds) or len(y) != len(X):
        raise ValueError(
            f"X, y and Folds must have the same number of rows. X has {len(X)}, y has "
            f"{len(y)} and Folds have {[len(f.groups) for f in all_folds]}."
        )
    targets = Targets.of(y, probe.task)
    encoded = _encoded(targets, y)
    answers, fitted = [], None
    for seed, split in enumerate(all_folds):
        predictions = []
        for fold in split.folds:
            fit = seeded(probe, seed)
            if prepare is not None:
                prepare(fit, fold)
            fit.fit(_rows(X, fold.train), y[fold.train], split.inside(fold))
            predictions.append(_predicted(fit, X, y, fold.test, fold.train, targets))
            fitted = fit if seed == 0 else fitted
        answers.append(tuple(predictions))
    assert fitted is not None
    return Judgement(encoded, targets, tuple(all_folds), tuple(answers), fitted)


def judged_as_is(
    probe: Probe,
    scores: Array,
    cut: float,
    y: Array,
    targets: Targets,
    groups: Array,
    prior: Array,
) -> Judgement:
    """Score the predictions of a fitted probe for networks outside its training set.

    Parameters
    ----------
    scores : ndarray of shape (n, width)
        Scores that the probe predicts.
    cut : float
        Score above which a label is predicted.
    y : ndarray of shape (n,) or (n, k)
        Targets of the networks.
    targets : Targets
        Targets of the probe, possibly with further classes.
    groups : ndarray of shape (n,)
        Groups that intervals resample.
    prior : ndarray of shape (width,)
        Training mean of encoded targets, which defines the baseline.
    """
    rows = np.arange(len(y))
    fold = Fold("new", rows[:0], rows)
    folds = Folds("run", (fold,), groups, groups, False, rows[:0])
    predictions = _fold_predictions(probe, scores, cut, rows, targets, prior)
    return Judgement(_encoded(targets, y), targets, (folds,), ((predictions,),), probe)


def score_difference(
    first: Judgement, second: Judgement, score: str
) -> tuple[float, float, float]:
    """Compute the difference of a score between two judgements, with its interval.

    Returns
    -------
    value, low, high : float
        Score of the first minus the second, with the 95 % interval by joint resampling.

    Raises
    ------
    ValueError
        If the judgements have different rows, groups or seeds.
    """
    comparable = (
        len(first.answers) == len(second.answers)
        and np.array_equal(first.tested, second.tested)
        and np.array_equal(first.folds[0].clusters, second.folds[0].clusters)
        and np.array_equal(first.y[first.tested], second.y[second.tested])
        and first.sizes == second.sizes
    )
    if not comparable:
        raise ValueError(
            "The two judgements differ in networks, groups or seeds. Pass the same targets "
            "and Folds to judge() for both probes."
        )
    (match,) = (s for s in scores_of(first.targets.kind) if s.name == score)
    of_first, of_second = first.weighted(match), second.weighted(match)

    def value(weights: Array) -> Array:
        pairs = zip(of_first, of_second, strict=True)
        return np.stack([over(x(weights), None) - over(z(weights), None) for x, z in pairs])

    return confidence_intervals(value, of_first)


def seeded(probe: Probe, seed: int) -> Probe:
    """Return an unfitted copy with ``random_state`` set to the seed, if it has one."""
    copy: Probe = clone(probe)
    if "random_state" in copy.get_params(deep=False):
        copy.set_params(random_state=seed)
    return copy


def _rows(X: Array, rows: Array) -> Array:
    """Return rows in order; a view if they are consecutive, as zoos are."""
    consecutive = (
        len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all()
    )
    return X[rows[0] : rows[-1] + 1] if consecutive else X[rows]


def _joined(answers: Sequence[FoldPredictions]) -> FoldPredictions:
    fields = (
        np.concatenate([getattr(part, name) for part in answers])
        for name in ("rows", "predicted", "scores", "trivial", "trivial_scores")
    )
    return FoldPredictions(*fields)


def _encoded(targets: Targets, y: Array) -> Array:
    """Return targets (n, k); for many classes their indices."""
    if targets.kind == "multiclass":
        assert targets.classes is not None
        return np.searchsorted(targets.classes, y)[:, None]
    return targets.encode(y)


def _predicted(
    probe: Probe, X: Array, y: Array, rows: Array, train: Array, targets: Targets
) -> FoldPredictions:
    scores, cut = probe._decided(_rows(X, rows))
    return _fold_predictions(
        probe, scores, cut, rows, targets, targets.encode(y[train]).mean(0)
    )


def _fold_predictions(
    probe: Probe, scores: Array, cut: float, rows: Array, targets: Targets, prior: Array
) -> FoldPredictions:
    predicted = _encoded(targets, probe.targets_.decide(scores, cut))
    wide_scores, trivial = _wide(probe, targets, scores), _trivial(targets, prior)
    trivial_rows = np.tile(trivial, (len(rows), 1)), np.tile(prior, (len(rows), 1))
    return FoldPredictions(rows, predicted, wide_scores, *trivial_rows)


def _wide(probe: Probe, targets: Targets, scores: Array) -> Array:
    """Return scores (m, width) of all classes, including classes without training rows."""
    known: Any = probe.targets_.classes
    if targets.kind != "multiclass" or len(known) == targets.width:
        return scores
    if probe.targets_.kind == "binary":
        scores = np.concatenate([-scores, scores], axis=1)
    assert targets.classes is not None
    wide = np.full((len(scores), targets.width), -np.inf)
    wide[:, np.searchsorted(targets.classes, known)] = scores
    return wide


def _trivial(targets: Targets, mean: Array) -> Array:
    if targets.kind == "multiclass":
        return np.array([mean.argmax()], np.float64)
    return mean if targets.kind == "regression" else (mean > 0.5).astype(np.float64)
