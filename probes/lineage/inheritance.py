"""What a network has of another that no third one has: parent or sibling.

Fine-tunes of one root move alike, so that one that moved little lies between the root and
its siblings, and is nearer to them than the root: distances alone make it their parent. But
a child has all that is particular to its parent, and a sibling has nothing of it. In the
least-squares fit of a network by all others the weight of a parent is 1, that of a sibling
small, whatever they share with the rest.

Differs from MoTHer (arXiv:2405.18432), where distances decide: its fine-tunes are nearly
orthogonal.
"""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array

_RIDGE = 1e-9
"""Of the mean squared deviation: exact copies share a weight, and nothing overflows."""

_TOGETHER = 1e3
"""How strongly weights are held to a sum of 1: in mean squared deviations."""


def precision(squared: Array) -> Array:
    """Inverse (n, n) of the Gram matrix of networks, from squared distances (n, n).

    ``-precision[i, j] / precision[i, i]`` is the weight of j in the fit of i by all others,
    ``1 / precision[i, i]`` the squared norm of what the fit leaves.
    """
    n = len(squared)
    rows = squared.mean(1)
    gram = 0.5 * (rows[:, None] + rows - squared - rows.mean())
    scale = max(float(np.trace(gram)) / n, np.finfo(np.float64).tiny)
    held = gram / scale + _TOGETHER + _RIDGE * np.eye(n)
    found: Array = np.linalg.inv(held) / scale
    return found


def least_particular(inverse: Array) -> int:
    """The network of which least is particular to it: the root of many children."""
    return int(np.diag(inverse).argmax())


def checked_parents(
    up: Array, order: Array, inverse: Array, least: float
) -> tuple[Array, Array]:
    """Keep a link where the child has what is particular to the parent.

    From the leaves inwards: a child that is confirmed leaves the fit, since what it has
    of its parent is no longer particular there. Others are children of the root.

    Parameters
    ----------
    up : ndarray of shape (n,)
        Parents by distance, -1 of the root.
    order : ndarray of shape (n,)
        Parents before their children.
    inverse : ndarray of shape (n, n)
        See `precision`.
    least : float
        Weight from which on a link is kept.

    Returns
    -------
    parents : ndarray of shape (n,)
    sure : ndarray of shape (n,)
        Weight of the parent; of children of the root 1 - that of the nearest other.
    """
    inverse, root = inverse.copy(), int(order[0])
    found, sure = np.full(len(up), root), np.ones(len(up))
    found[root] = -1
    for i in order[:0:-1]:
        share = -inverse[i, up[i]] / inverse[i, i] if up[i] != root else 0.0
        if up[i] == root or share < least:
            others = -inverse[i] / inverse[i, i]
            others[[i, root]] = 0
            sure[i] = 1 - others.max()
            continue
        found[i], sure[i] = up[i], share
        column = inverse[:, i].copy()
        inverse -= np.outer(column, column) / column[i]
        inverse[i], inverse[:, i] = 0, 0
        inverse[i, i] = 1
    return found, np.clip(sure, 0, 1)
