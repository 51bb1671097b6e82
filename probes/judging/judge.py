"""The one judge: fits a probe on what it may see and scores it on what it has not."""

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
    """A score with its doubt, and what it takes to be better than nothing.

    Attributes
    ----------
    score : str
        A name of `probes.judging.scores.SCORES`.
    value : float
        Mean over targets, seeds and, where zoos or trees are held out, these. What has no
        score, such as labels of one class, does not count.
    low, high : float
        95 %; resamples groups, and seeds where there are several. Of predictions without
        an error see `probes.judging.exact_bounds`. NaN if that of one group would be
        needed.
    baseline : float
        The same score of the trivial answer: the training mean, the most frequent class.
    """

    score: str
    value: float
    low: float
    high: float
    baseline: float


@dataclass(frozen=True)
class FoldPredictions:
    """What a probe, and the trivial answer, said about the rows of one fold.

    Attributes
    ----------
    rows : ndarray of int
        The tested rows.
    predicted, scores : ndarray of shape (m, k), (m, width)
    trivial, trivial_scores : ndarray of the same shapes
    """

    rows: Array
    predicted: Array
    scores: Array
    trivial: Array
    trivial_scores: Array


@dataclass(frozen=True)
class Judgement:
    """What a probe said about networks that it has not seen, and how good that is.

    Attributes
    ----------
    y : ndarray of shape (n, k)
        Targets; of many classes (n, 1) of indices.
    targets : Targets
    folds : tuple of Folds
        One for each seed.
    answers : tuple of tuple of Answers
        By seed and fold.
    probe : Probe
        Of the first seed, as fitted in its last fold.
    """

    y: Array
    targets: Targets
    folds: tuple[Folds, ...]
    answers: tuple[tuple[FoldPredictions, ...], ...]
    probe: Probe

    def predictions(self) -> Array:
        """What the first seed said about the `tested` rows: values, classes or labels."""
        rows = np.concatenate([answers.rows for answers in self.answers[0]])
        said = np.concatenate([answers.predicted for answers in self.answers[0]])
        said = said[np.argsort(rows)]
        if self.targets.kind in ("regression", "multilabel"):
            return said[:, 0] if self.targets.flat else said
        assert self.targets.classes is not None
        return self.targets.classes[said[:, 0].astype(np.int64)]

    @property
    def tested(self) -> Array:
        """Rows that were judged, in order."""
        return np.sort(np.concatenate([answers.rows for answers in self.answers[0]]))

    def estimates(self, target: int | None = None) -> list[Estimate]:
        """Every score, of all targets together or of one."""
        return [self._estimate(score, target) for score in scores_of(self.targets.kind)]

    def by_fold(self) -> dict[str, list[Estimate]]:
        """Scores of each held-out zoo or tree by its name."""
        found = {}
        for f, fold in enumerate(self.folds[0].folds):
            answers = tuple((seed[f],) for seed in self.answers)
            part = Judgement(self.y, self.targets, self.folds, answers, self.probe)
            found[fold.name] = part.estimates()
        return found

    def estimate(self, score: str) -> Estimate:
        """One score by name, of all targets together."""
        (found,) = (s for s in scores_of(self.targets.kind) if s.name == score)
        return self._estimate(found, None)

    def weighted(self, score: ProbeScore, *, trivial: bool = False) -> list[Averaged]:
        """The score of each seed under weightings of the groups of all strata."""
        return [
            Averaged.of(self.sizes, [self._scored(score, a, trivial) for a in seed])
            for seed in self._strata
        ]

    @cached_property
    def sizes(self) -> list[int]:
        """Groups of each stratum."""
        return [int(self._group_of(a.rows).max()) + 1 for a in self._strata[0]]

    @cached_property
    def _strata(self) -> list[list[FoldPredictions]]:
        if self.folds[0].strata:
            return [list(seed) for seed in self.answers]
        return [[_together(seed)] for seed in self.answers]

    def _group_of(self, rows: Array) -> Array:
        group: Array = np.unique(self.folds[0].clusters[rows], return_inverse=True)[1]
        return group

    def _scored(
        self, score: ProbeScore, answers: FoldPredictions, trivial: bool
    ) -> Weighted:
        said = (
            (answers.trivial, answers.trivial_scores)
            if trivial
            else (answers.predicted, answers.scores)
        )
        return score.of(self.y[answers.rows], *said, self._group_of(answers.rows))

    def _estimate(self, score: ProbeScore, target: int | None) -> Estimate:
        def value(of: Sequence[Averaged]) -> Callable[[Array], Array]:
            return lambda weights: np.stack([over(w(weights), target) for w in of])

        own = self.weighted(score)
        point, low, high = confidence_intervals(value(own), own, target)
        if own[0].resampled(target):
            low, high = self._widened(score, own[0], target, (point, low, high))
        if (baseline := score.blind) is None:
            ones = np.ones((1, sum(self.sizes)))
            baseline = float(value(self.weighted(score, trivial=True))(ones).mean())
        return Estimate(score.name, point, low, high, baseline)

    def _widened(
        self,
        score: ProbeScore,
        averaged: Averaged,
        target: int | None,
        found: tuple[float, float, float],
    ) -> tuple[float, float]:
        """The interval, where resampling knows no doubt: all is right, or all is wrong."""
        point, low, high = found
        if point not in score.ends:
            return low, high
        if score.flawless is None:  # nothing bounds how bad it may be elsewhere
            return np.nan, np.nan
        each = [
            score.flawless(self.y[a.rows], self._group_of(a.rows)) for a in self._strata[0]
        ]
        share = float(over(averaged.mean(np.stack(each))[None], target)[0])
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
    """Fit a probe in every fold, and keep what it says about the rows it has not seen.

    A tested row is used once: for the score. What a probe chooses, such as a penalty, it
    chooses on the training rows, by `Folds.inside`. Rows that are learnt from are copied
    once, unless they follow one another.

    Parameters
    ----------
    probe : Probe
        Is cloned; its ``random_state``, if it has one, is the seed.
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,) or (n, k)
    folds : Folds, or one for each seed
        Seeds are 0, 1, ...
    prepare : callable, optional
        ``prepare(probe, fold)`` sets parameters of an unfitted probe, such as the layer
        to read, by what the training rows of the fold say.

    Raises
    ------
    ValueError
        If shapes disagree, or a training side has one class.
    """
    every = [folds] if isinstance(folds, Folds) else list(folds)
    y = np.asarray(y)
    if not every or any(len(f.groups) != len(X) for f in every) or len(y) != len(X):
        raise ValueError(
            f"X has {len(X)} rows and y has {len(y)}; give Folds of as many. Got "
            f"{[len(f.groups) for f in every]}."
        )
    targets = Targets.of(y, probe.task)
    plain = _plain(targets, y)
    answers, fitted = [], None
    for seed, split in enumerate(every):
        told = []
        for fold in split.folds:
            fit = seeded(probe, seed)
            if prepare is not None:
                prepare(fit, fold)
            fit.fit(_rows(X, fold.train), y[fold.train], split.inside(fold))
            told.append(_answers(fit, X, y, fold.test, fold.train, targets))
            fitted = fit if seed == 0 else fitted
        answers.append(tuple(told))
    assert fitted is not None
    return Judgement(plain, targets, tuple(every), tuple(answers), fitted)


def judged_as_is(
    probe: Probe,
    scores: Array,
    cut: float,
    y: Array,
    targets: Targets,
    groups: Array,
    prior: Array,
) -> Judgement:
    """Judge what a fitted probe said about networks that it has not seen.

    Parameters
    ----------
    scores : ndarray of shape (n, width)
        Of the probe, and the ``cut`` from which a label holds.
    y : ndarray of shape (n,) or (n, k)
    targets : Targets
        Those of the probe, or with further classes.
    groups : ndarray of shape (n,)
        What intervals resample.
    prior : ndarray of shape (width,)
        Mean of encoded targets in training, from which the trivial answer follows.
    """
    rows = np.arange(len(y))
    fold = Fold("new", rows[:0], rows)
    folds = Folds("run", (fold,), groups, groups, False, rows[:0])
    told = _told(probe, scores, cut, rows, targets, prior)
    return Judgement(_plain(targets, y), targets, (folds,), ((told,),), probe)


def score_difference(
    first: Judgement, second: Judgement, score: str
) -> tuple[float, float, float]:
    """How much better the first is than the second, on the same rows; with its interval.

    Returns
    -------
    value, low, high : float
        Of the first minus the second: 95 %, resampling both together.

    Raises
    ------
    ValueError
        If they were judged on other rows, groups or seeds.
    """
    same = (
        len(first.answers) == len(second.answers)
        and np.array_equal(first.tested, second.tested)
        and np.array_equal(first.folds[0].clusters, second.folds[0].clusters)
        and np.array_equal(first.y[first.tested], second.y[second.tested])
        and first.sizes == second.sizes
    )
    if not same:
        raise ValueError(
            "Two probes are compared on the same networks, groups and seeds: judge both "
            "with the same targets and Folds."
        )
    (found,) = (s for s in scores_of(first.targets.kind) if s.name == score)
    a, b = first.weighted(found), second.weighted(found)

    def value(weights: Array) -> Array:
        pairs = zip(a, b, strict=True)
        return np.stack([over(x(weights), None) - over(z(weights), None) for x, z in pairs])

    return confidence_intervals(value, a)


def seeded(probe: Probe, seed: int) -> Probe:
    """An unfitted copy that draws from a seed, if it draws."""
    copy: Probe = clone(probe)
    if "random_state" in copy.get_params(deep=False):
        copy.set_params(random_state=seed)
    return copy


def _rows(X: Array, rows: Array) -> Array:
    """Rows in order; a view where they follow one another, as zoos do."""
    together = (
        len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all()
    )
    return X[rows[0] : rows[-1] + 1] if together else X[rows]


def _together(answers: Sequence[FoldPredictions]) -> FoldPredictions:
    fields = (
        np.concatenate([getattr(one, name) for one in answers])
        for name in ("rows", "predicted", "scores", "trivial", "trivial_scores")
    )
    return FoldPredictions(*fields)


def _plain(targets: Targets, y: Array) -> Array:
    """Targets (n, k); of many classes their indices."""
    if targets.kind == "multiclass":
        assert targets.classes is not None
        return np.searchsorted(targets.classes, y)[:, None]
    return targets.encode(y)


def _answers(
    probe: Probe, X: Array, y: Array, rows: Array, train: Array, targets: Targets
) -> FoldPredictions:
    scores, cut = probe._decided(_rows(X, rows))
    return _told(probe, scores, cut, rows, targets, targets.encode(y[train]).mean(0))


def _told(
    probe: Probe, scores: Array, cut: float, rows: Array, targets: Targets, prior: Array
) -> FoldPredictions:
    predicted = _plain(targets, probe.targets_.decide(scores, cut))
    own, trivial = _wide(probe, targets, scores), _trivial(targets, prior)
    blind = np.tile(trivial, (len(rows), 1)), np.tile(prior, (len(rows), 1))
    return FoldPredictions(rows, predicted, own, *blind)


def _wide(probe: Probe, targets: Targets, scores: Array) -> Array:
    """Scores (m, width) of all classes: training may have lacked some."""
    own: Any = probe.targets_.classes
    if targets.kind != "multiclass" or len(own) == targets.width:
        return scores
    if probe.targets_.kind == "binary":
        scores = np.concatenate([-scores, scores], axis=1)
    assert targets.classes is not None
    wide = np.full((len(scores), targets.width), -np.inf)
    wide[:, np.searchsorted(targets.classes, own)] = scores
    return wide


def _trivial(targets: Targets, mean: Array) -> Array:
    if targets.kind == "multiclass":
        return np.array([mean.argmax()], np.float64)
    return mean if targets.kind == "regression" else (mean > 0.5).astype(np.float64)
