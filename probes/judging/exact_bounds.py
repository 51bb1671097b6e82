"""What predictions without any error, or without any success, say about the next ones.

Groups drawn again from groups without an error have none either, so that resampling
finds an interval of width 0. But m independent chances to err, none of them taken, are
likely enough (a tail of 2.5 %) only if no more than ``1 - 0.025**(1 / m)`` of such chances
are (Clopper and Pearson [1]_). Here m counts groups, never rows. The same shares hold where
all is wrong, with errors and successes exchanged. Of several strata or targets the mean of
their shares holds: no error anywhere is no likelier than none in one of them.

Each function takes targets (n, k) and groups (n,), and gives the lowest share (k,) of
successes that goes with no failure at all.

References
----------
.. [1] Clopper and Pearson 1934, Biometrika 26: confidence limits of the binomial.
"""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array
from probes.judging.bootstrap import without_errors


def of_groups(y: Array, group: Array) -> Array:
    """Of accuracy: every group is a chance to err."""
    return np.full(y.shape[1], without_errors(len(np.unique(group))))


def of_classes(y: Array, group: Array) -> Array:
    """Of balanced accuracy: the mean over classes of what the groups of each tell.

    No error at all is no likelier than no error in one class, so the bound of every class
    holds at the level of all, whether or not groups have several classes. It is
    conservative: errors would have to be as frequent as may be in all classes at once.
    """
    return np.array(
        [
            np.mean(
                [without_errors(len(np.unique(group[own == c]))) for c in np.unique(own)]
            )
            for own in y.T
        ]
    )


def of_contrasts(y: Array, group: Array) -> Array:
    """Of AUC: pairs of one group with a positive and one with a negative, none in two.

    The AUC is the share of pairs in the right order. Pairs without a common group are
    independent, and there are as many as groups of the rarer class (fewer where most groups
    have both). No higher bound holds for all distributions: positives may be above all
    negatives as often as that, and else below all.
    """
    groups = len(np.unique(group))
    found = []
    for own in y.T:
        sides = len(np.unique(group[own == 1])), len(np.unique(group[own != 1]))
        found.append(_bound(min(groups // 2, *sides)))
    return np.array(found)


def of_orders(y: Array, group: Array) -> Array:
    """Of Kendall's tau, as a share of the way from -1 to 1: pairs as in `of_contrasts`.

    Of each group the first target stands for it, and pairs are of different ones. With e
    the share of such pairs that are not in order, tau-b is at least 1 - 2 e.
    """
    first = np.unique(group, return_index=True)[1]
    most = [np.unique(own[first], return_counts=True)[1].max() for own in y.T]
    groups = len(first)
    return np.array([_bound(min(groups // 2, groups - int(m))) for m in most])


def _bound(pairs: int) -> float:
    return without_errors(pairs) if pairs else 0.0
