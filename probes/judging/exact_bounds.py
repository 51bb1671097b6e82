"""Exact bounds on scores for predictions that are all right or all wrong.

If no group has an error, no resample of the groups has one, and resampling gives an
interval of width 0. But m independent trials without an error have a probability of 2.5 %
or more only if the error rate is at most ``1 - 0.025**(1 / m)`` (Clopper and Pearson [1]_).
Here m is the number of groups, not of rows. If all predictions are wrong, the same bounds
hold with errors and successes exchanged. For several strata or targets the bound is the
mean of their bounds, because to have no error at all is at most as likely as to have none
in one of them.

Each function takes targets (n, k) and groups (n,), and returns the lowest success rate (k,)
that is compatible with observing no failure.

References
----------
.. [1] Clopper and Pearson 1934, Biometrika 26: confidence limits of the binomial.
"""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array
from probes.judging.bootstrap import without_errors


def of_groups(y: Array, group: Array) -> Array:
    """Return the bound on the accuracy, with each group as one trial."""
    return np.full(y.shape[1], without_errors(len(np.unique(group))))


def of_classes(y: Array, group: Array) -> Array:
    """Return the bound on the balanced accuracy: the mean of the bounds of the classes.

    To have no error at all is at most as likely as to have none in one class, so the bounds
    of all classes hold together at the same level, even if groups have several classes.
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
    """Return the bound on the AUC, from disjoint pairs of a positive and a negative group.

    The AUC is the share of pairs in the right order. Pairs without a common group are
    independent; their number is the number of groups of the rarer class (less if most
    groups have both classes). No higher bound holds for all distributions: the positives
    may lie above all negatives with the probability that the bound states, and below all
    negatives otherwise.
    """
    groups = len(np.unique(group))
    bounds = []
    for column in y.T:
        sides = len(np.unique(group[column == 1])), len(np.unique(group[column != 1]))
        bounds.append(_bound(min(groups // 2, *sides)))
    return np.array(bounds)


def of_orders(y: Array, group: Array) -> Array:
    """Return the bound on Kendall's tau, scaled from [-1, 1] to [0, 1].

    The trials are disjoint pairs of groups, as in `of_contrasts`. A group is represented by
    its first target, and the targets of a pair differ. If e is the share of pairs in the
    wrong order, tau-b is at least 1 - 2 e.
    """
    first = np.unique(group, return_index=True)[1]
    largest = [np.unique(column[first], return_counts=True)[1].max() for column in y.T]
    groups = len(first)
    return np.array([_bound(min(groups // 2, groups - int(m))) for m in largest])


def _bound(pairs: int) -> float:
    return without_errors(pairs) if pairs else 0.0
