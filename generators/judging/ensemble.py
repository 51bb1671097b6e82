"""What samples gain by voting: copies of one network gain nothing."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array

VOTES = 16
"""Networks of a vote."""


def ensemble_gain(labels: Array, truth: Array, *, seed: int = 0) -> float:
    """Accuracy of plurality votes less the mean accuracy of those who vote.

    Parameters
    ----------
    labels : ndarray of shape (n, m)
        Classes; -1 is none.
    truth : ndarray of shape (m,)

    Returns
    -------
    float
        Mean over disjoint groups of `VOTES` networks, drawn by the seed; NaN if there
        are fewer.
    """
    groups = len(labels) // VOTES
    if not groups:
        return float("nan")
    order = np.random.default_rng(seed).permutation(len(labels))[: groups * VOTES]
    classes = int(max(labels.max(), truth.max())) + 1
    gains = []
    for group in order.reshape(groups, VOTES):
        own = labels[group]
        votes = np.stack([(own == c).sum(0) for c in range(classes)])
        first = (votes == votes.max(0)) & (votes > 0)
        # A tie is drawn by lot.
        right = first[truth, np.arange(len(truth))] / np.maximum(first.sum(0), 1)
        gains.append(right.mean() - (own == truth).mean())
    return float(np.mean(gains))
