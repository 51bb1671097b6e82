"""Accuracy that networks gain by voting, which is zero for copies of one network."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array

VOTES = 16
"""Number of networks in a vote."""


def ensemble_gain(labels: Array, truth: Array, *, seed: int = 0) -> float:
    """Return the accuracy of plurality votes minus the mean accuracy of the voters.

    Parameters
    ----------
    labels : ndarray of shape (n, m)
        Predicted classes; -1: no class is predicted.
    truth : ndarray of shape (m,)
        True classes.
    seed : int, default=0
        Seed of the groups.

    Returns
    -------
    float
        Mean over disjoint groups of `VOTES` networks, drawn by the seed; NaN if there
        are fewer networks.
    """
    groups = len(labels) // VOTES
    if not groups:
        return float("nan")
    order = np.random.default_rng(seed).permutation(len(labels))[: groups * VOTES]
    classes = int(max(labels.max(), truth.max())) + 1
    gains = []
    for group in order.reshape(groups, VOTES):
        predictions = labels[group]
        votes = np.stack([(predictions == c).sum(0) for c in range(classes)])
        is_winner = (votes == votes.max(0)) & (votes > 0)
        # Expected accuracy if ties are broken at random.
        accuracy = is_winner[truth, np.arange(len(truth))] / np.maximum(is_winner.sum(0), 1)
        gains.append(accuracy.mean() - (predictions == truth).mean())
    return float(np.mean(gains))
