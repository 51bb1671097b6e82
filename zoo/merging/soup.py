"""Greedy soups: of each cell the networks whose average is best on the validation split.

After Wortsman et al. 2022, arXiv:2203.05482, with networks in one order of units and
averages that are repaired, see `zoo.merging.repair`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from catalog.dtypes import Array
from zoo.merging.made_weights import Group, judge_weights
from zoo.merging.repair import repair
from zoo.networks import Networks


def greedy_soups(
    networks: Networks,
    groups: Sequence[Group],
    parents: Sequence[Array],
    errors: Array,
    *,
    samples: int = 1024,
    seed: int = 0,
) -> tuple[Array, list[Array]]:
    """Soups of groups side by side.

    From the best network on, others are added in the order of their own error, each only
    if the average is then no worse on the validation split. So a soup is never worse
    there than the best of its networks.

    Parameters
    ----------
    networks : Networks
    groups : sequence of k rows
    parents : sequence of k ndarray of shape (m, d)
        Their weights in one order of units.
    errors : ndarray of shape (n,)
        Validation errors of the networks.
    samples : int, default=1024
        For `repair`.

    Returns
    -------
    weights : ndarray of shape (k, d)
    members : list of k ndarray of int
        Rows of the networks in each.
    """
    orders = [np.argsort(errors[np.asarray(g)], kind="stable") for g in groups]
    rows = [np.asarray(g)[order] for g, order in zip(groups, orders, strict=True)]
    own = [w[order] for w, order in zip(parents, orders, strict=True)]
    chosen = [[0] for _ in groups]
    # A single network is taken as it is: its order of units is no matter.
    soups = np.stack([networks.weights[r[0]] for r in rows])
    best = np.array([errors[r[0]] for r in rows])
    for k in range(1, max(map(len, rows))):
        turn = [g for g in range(len(rows)) if k < len(rows[g])]
        tried = [[*chosen[g], k] for g in turn]
        means = np.stack([own[g][t].mean(0) for g, t in zip(turn, tried, strict=True)])
        some = [rows[g][t] for g, t in zip(turn, tried, strict=True)]
        each = [own[g][t] for g, t in zip(turn, tried, strict=True)]
        means = repair(networks, means, some, each, samples=samples, seed=seed)
        found = judge_weights(networks, means, some, ["validation"])["validation"].error
        for g, with_it, weights, error in zip(turn, tried, means, found, strict=True):
            if error <= best[g]:
                chosen[g], soups[g], best[g] = with_it, weights, error
    return soups, [r[c] for r, c in zip(rows, chosen, strict=True)]
