"""Greedy soups: averages of the networks of a cell that do best on the validation split.

The method is that of Wortsman et al. 2022, arXiv:2203.05482. Here the networks have their
units in one order, and averages are repaired, see `zoo.merging.repair`.
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
    """Compute the greedy soups of several groups at once.

    A soup starts with the best network of its group. The other networks are added in the
    order of their errors, each only if the average is then no worse on the validation
    split. So a soup is never worse on that split than the best of its networks.

    Parameters
    ----------
    networks : Networks
        Networks to average.
    groups : sequence of k rows
        Rows of the networks of each group.
    parents : sequence of k ndarray of shape (m, d)
        Weights of the networks of each group, with their units in one order.
    errors : ndarray of shape (n,)
        Validation errors of the networks.
    samples : int, default=1024
        Largest number of training inputs for `repair`.
    seed : int, default=0
        Seed of the inputs for `repair`.

    Returns
    -------
    weights : ndarray of shape (k, d)
        Soups.
    members : list of k ndarray of int
        Rows of the networks in each soup.
    """
    orders = [np.argsort(errors[np.asarray(g)], kind="stable") for g in groups]
    rows = [np.asarray(g)[order] for g, order in zip(groups, orders, strict=True)]
    sorted_weights = [w[order] for w, order in zip(parents, orders, strict=True)]
    chosen = [[0] for _ in groups]
    # A single network is taken as it is, because its order of units does not matter.
    soups = np.stack([networks.weights[r[0]] for r in rows])
    best = np.array([errors[r[0]] for r in rows])
    for k in range(1, max(map(len, rows))):
        open_groups = [g for g in range(len(rows)) if k < len(rows[g])]
        tried = [[*chosen[g], k] for g in open_groups]
        means = np.stack(
            [sorted_weights[g][t].mean(0) for g, t in zip(open_groups, tried, strict=True)]
        )
        tried_rows = [rows[g][t] for g, t in zip(open_groups, tried, strict=True)]
        tried_weights = [
            sorted_weights[g][t] for g, t in zip(open_groups, tried, strict=True)
        ]
        means = repair(
            networks, means, tried_rows, tried_weights, samples=samples, seed=seed
        )
        tried_errors = judge_weights(networks, means, tried_rows, ["validation"])[
            "validation"
        ].error
        for g, tried_members, weights, error in zip(
            open_groups, tried, means, tried_errors, strict=True
        ):
            if error <= best[g]:
                chosen[g], soups[g], best[g] = tried_members, weights, error
    return soups, [r[c] for r, c in zip(rows, chosen, strict=True)]
