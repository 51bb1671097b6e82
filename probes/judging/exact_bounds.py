"""Exact bounds of scores for predictions that are all right or all wrong.

Groups resampled from groups without an error contain no error, so resampling gives an
interval of width 0. But m independent trials without an error have a probability of 2.5 %
or more only if the error rate is at most ``1 - 0.025**(1 / m)`` (Clopper and Pearson [1]_).
Here m counts groups, not rows. The same bounds hold if all predictions are wrong, with
errors and successes exchanged. For several strata or targets the bound is the mean of their
bounds: no error anywhere is at most as likely as no error in one of them.

Each function takes targets (n, k) and groups (n,), and returns the lowest share (k,) of
successes that is compatible with no failure.

References
----------
.. [1] Clopper and Pearson 1934, Biometrika 26: confidence limits of the binomial.
"""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array
from probes.judging.bootstrap import without_errors


def of_groups(y: Array, group: Array) -> Array:
    """Bound of the accuracy, with every group as one trial."""
    return np.full(y.shape[1], without_errors(len(np.unique(group))))


def of_classes(y: Array, group: Array) -> Array:
    """Bound of the balanced accuracy: the mean over classes of bounds by their groups.

    No error anywhere is at most as likely as no error in one class, so the bounds of all
    classes hold together at the same level, whether or not groups have several classes.
    The mean is conservative: it assumes the largest error rate in all classes at once.
    """
    return np.array(
        [
            np.mean(
                [
                    without_errors(len(np.unique(group[column == c])))
                    for c in np.unique(column)
                ]
            )
            for column in y.T
        ]
    )


def of_contrasts(y: Array, group: Array) -> Array:
    """Bound of the AUC, from disjoint pairs of a positive and a negative group.

    The AUC is the share of pairs in the right order. Pairs without a common group are
    independent; their number is the number of groups of the rarer class (less if most
    groups have both classes). No higher bound holds for all distributions: positives may
    be above all negatives with the probability of the bound, and otherwise below all.
    """
    groups = len(np.unique(group))
    bounds = []
    for column in y.T:
        sides = len(np.unique(group[column == 1])), len(np.unique(group[column != 1]))
        bounds.append(_bound(min(groups // 2, *sides)))
    return np.array(bounds)


def of_orders(y: Array, group: Array) -> Array:
    """Bound of Kendall's tau, scaled from [-1, 1] to [0, 1], by pairs of groups.

    Pairs are disjoint as in `of_contrasts`. The first target of a group represents it, and
    a pair has two different targets. With e the share of pairs that are not in order, tau-b
    is at least 1 - 2 e.
    """
    first = np.unique(group, return_index=True)[1]
    largest = [np.unique(column[first], return_counts=True)[1].max() for column in y.T]
    groups = len(first)
    return np.array([_bound(min(groups // 2, groups - int(m))) for m in largest])


def _bound(pairs: int) -> float:
    return without_errors(pairs) if pairs else 0.0
