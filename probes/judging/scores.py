"""Scores of predictions, as functions of the weights of groups of networks.

A bootstrap over groups needs one score under a thousand weightings. Every score in this
module first sums its terms by group (or by pair of groups), and then computes the values
for all weightings at once. They equal the score on the resampled rows exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from probes.judging import exact_bounds

Weighted = Callable[[Array], Array]
"""Function from weightings (b, G) of groups to values (b, k), one for each target. A value
is NaN where the score is undefined, such as AUC without one of the classes."""

_BYTES = 64 << 20
"""Bytes of pairs of rows that are compared at a time."""


@dataclass(frozen=True)
class ProbeScore:
    """Score of predictions.

    Attributes
    ----------
    name : str
        Name of the score.
    summary : str
        One-line description.
    kinds : tuple of str
        Kinds of `Targets` to which the score applies.
    of : callable
        Function ``of(y, predicted, scores, group)`` that returns a `Weighted`, for targets
        and predictions (n, k), scores (n, width) and groups (n,) from 0 to G - 1. One of
        many classes is given as index (n, 1).
    ends : tuple of float
        Score of predictions that are all wrong, and of predictions that are all right.
    flawless : callable, optional
        Function ``flawless(y, group)`` that returns the lowest share (k,) of the range
        between the ends that is compatible with predictions that are all right. Without
        it the score has no exact bound, and no interval at its ends.
    blind : float, optional
        Score of constant predictions, for scores of the order only. Without it the
        baseline is the score of the trivial prediction.
    """

    name: str
    summary: str
    kinds: tuple[str, ...]
    of: Callable[[Array, Array, Array, Array], Weighted]
    ends: tuple[float, float]
    flawless: Callable[[Array, Array], Array] | None = None
    blind: float | None = None


def _r2(y: Array, predicted: Array, scores: Array, group: Array) -> Weighted:
    centred = y - y.mean(0)  # reduces cancellation in sums of squares
    rows = _by_group(np.ones((len(y), 1)), group)
    first, second = _by_group(centred, group), _by_group(centred**2, group)
    errors = _by_group((y - predicted) ** 2, group)

    def value(weights: Array) -> Array:
        n = weights @ rows
        square = (weights @ first) ** 2
        level = np.divide(square, n, out=np.zeros_like(square), where=n > 0)
        total = weights @ second - level
        return 1 - _ratio(weights @ errors, np.maximum(total, 0))

    return value


def _mae(y: Array, predicted: Array, scores: Array, group: Array) -> Weighted:
    return _mean(np.abs(y - predicted), group)


def _accuracy(y: Array, predicted: Array, scores: Array, group: Array) -> Weighted:
    return _mean((y == predicted).astype(np.float64), group)


def _balanced(y: Array, predicted: Array, scores: Array, group: Array) -> Weighted:
    classes = np.unique(y)
    hits = [_by_group((y == c) & (predicted == c), group) for c in classes]
    counts = [_by_group(y == c, group) for c in classes]

    def value(weights: Array) -> Array:
        shape = (len(weights), y.shape[1])
        recall, occurs = np.zeros(shape), np.zeros(shape)
        for class_hits, count in zip(hits, counts, strict=True):
            total = weights @ count
            recall += np.divide(
                weights @ class_hits, total, out=np.zeros(shape), where=total > 0
            )
            occurs += total > 0
        return _ratio(recall, occurs)

    return value


def _tau(y: Array, predicted: Array, scores: Array, group: Array) -> Weighted:
    forms = []
    for column in range(y.shape[1]):
        a, b = y[:, column], predicted[:, column]
        signs = (
            lambda i, a=a, b=b: np.sign(a[i, None] - a) * np.sign(b[i, None] - b),
            lambda i, a=a: np.sign(a[i, None] - a) ** 2,
            lambda i, b=b: np.sign(b[i, None] - b) ** 2,
        )
        forms.append([_pairs(sign, group) for sign in signs])

    def value(weights: Array) -> Array:
        taus = []
        for of_both, of_y, of_p in forms:
            concordant, rises, predicted_rises = (
                _form(weights, f) for f in (of_both, of_y, of_p)
            )
            tau = _ratio(concordant, np.sqrt(rises * predicted_rises))
            taus.append(np.where((predicted_rises == 0) & (rises > 0), 0.0, tau))
        return np.stack(taus, axis=1)

    return value


def _auc(y: Array, predicted: Array, scores: Array, group: Array) -> Weighted:
    forms, positives = [], y == 1
    for column in range(y.shape[1]):
        s, positive = scores[:, column], positives[:, column].astype(np.float64)

        def ordered(i: Array, s: Array = s, positive: Array = positive) -> Array:
            above = 0.5 + 0.5 * np.sign(s[i, None] - s)
            return above * positive[i, None] * (1 - positive)

        forms.append(_pairs(ordered, group))
    counts = _by_group(positives, group), _by_group(~positives, group)

    def value(weights: Array) -> Array:
        total = (weights @ counts[0]) * (weights @ counts[1])
        return _ratio(np.stack([_form(weights, f) for f in forms], axis=1), total)

    return value


_CLASSES = ("binary", "multiclass", "multilabel")
SCORES = (
    ProbeScore("r2", "coefficient of determination", ("regression",), _r2, (-np.inf, 1)),
    ProbeScore(
        "tau",
        "Kendall's tau-b; 0 for constant predictions",
        ("regression",),
        _tau,
        (-1, 1),
        exact_bounds.of_orders,
        blind=0.0,
    ),
    ProbeScore(
        "mae",
        "mean absolute error, in units of the target",
        ("regression",),
        _mae,
        (np.inf, 0),
    ),
    ProbeScore(
        "accuracy",
        "share of correct predictions, over all labels",
        _CLASSES,
        _accuracy,
        (0, 1),
        exact_bounds.of_groups,
    ),
    ProbeScore(
        "balanced_accuracy",
        "mean recall over the classes that occur",
        _CLASSES,
        _balanced,
        (0, 1),
        exact_bounds.of_classes,
    ),
    ProbeScore(
        "auc",
        "area under the ROC curve",
        ("binary", "multilabel"),
        _auc,
        (0, 1),
        exact_bounds.of_contrasts,
        blind=0.5,
    ),
)


def scores_of(kind: str) -> tuple[ProbeScore, ...]:
    """Return the scores for a kind of `Targets`."""
    return tuple(score for score in SCORES if kind in score.kinds)


def _mean(values: Array, group: Array) -> Weighted:
    sums, rows = _by_group(values, group), _by_group(np.ones((len(values), 1)), group)
    return lambda weights: _ratio(weights @ sums, weights @ rows)


def _by_group(values: Array, group: Array) -> Array:
    """Sum values (n, k) by group, (G, k)."""
    sums = np.zeros((group.max() + 1, values.shape[1]))
    np.add.at(sums, group, values)
    return sums


def _pairs(compare: Callable[[Array], Array], group: Array) -> Array:
    """Sum ``compare(i)``, (len(i), n) for rows i, over pairs of groups, (G, G)."""
    n, G = len(group), group.max() + 1
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(G))
    sums = np.zeros((G, G))
    step = max(_BYTES // (8 * n), 1)
    for first in range(0, n, step):
        rows = order[first : first + step]
        block_sums = np.add.reduceat(compare(rows)[:, order], starts, axis=1)
        np.add.at(sums, group[rows], block_sums)
    return sums


def _form(weights: Array, pairs: Array) -> Array:
    return np.asarray(((weights @ pairs) * weights).sum(1))


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
