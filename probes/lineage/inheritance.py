"""Distinction of parents from siblings, by what a network shares with one other only.

Fine-tunes of one root move in similar directions, so a fine-tune that moved little lies
between the root and its siblings, and nearer to its siblings than the root does: by
distances alone it would be their parent. But a child has inherited all that is particular
to its parent, and a sibling nothing of that. In the least-squares fit of a network by all
others, the weight of a parent is 1 and the weight of a sibling is small, whatever the
networks share with the rest.

MoTHer (arXiv:2405.18432) decides by distances alone, since its fine-tunes are nearly
orthogonal.
"""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array

_RIDGE = 1e-9
"""Ridge penalty relative to the mean squared deviation: exact copies share a weight, and
nothing overflows."""

_TOGETHER = 1e3
"""Penalty, in mean squared deviations, that holds the sum of the weights at 1."""


def precision(squared: Array) -> Array:
    """Compute the inverse (n, n) of the Gram matrix from squared distances (n, n).

    ``-precision[i, j] / precision[i, i]`` is the weight of j in the fit of i by all others,
    and ``1 / precision[i, i]`` is the squared norm of the residual.
    """
    n = len(squared)
    rows = squared.mean(1)
    gram = 0.5 * (rows[:, None] + rows - squared - rows.mean())
    scale = max(float(np.trace(gram)) / n, np.finfo(np.float64).tiny)
    penalised = gram / scale + _TOGETHER + _RIDGE * np.eye(n)
    inverse: Array = np.linalg.inv(penalised) / scale
    return inverse


def least_particular(inverse: Array) -> int:
    """Return the network with the smallest particular part: the root of many children."""
    return int(np.diag(inverse).argmax())


def checked_parents(
    parent_of: Array, order: Array, inverse: Array, least: float
) -> tuple[Array, Array]:
    """Keep the links whose children have inherited what is particular to the parents.

    Links are checked from the leaves inwards. A child whose link is kept is removed from
    the fit: otherwise nothing that it has inherited would be particular to its parent.
    Other networks become children of the root.

    Parameters
    ----------
    parent_of : ndarray of shape (n,)
        Parents by distance, -1 for the root.
    order : ndarray of shape (n,)
        Networks, with parents before their children.
    inverse : ndarray of shape (n, n)
        Result of `precision`.
    least : float
        Minimum weight at which a link is kept.

    Returns
    -------
    parents : ndarray of shape (n,)
        Checked parents, -1 for the root.
    confidence : ndarray of shape (n,)
        Weight of the parent; for children of the root, 1 - the largest other weight.
    """
    inverse, root = inverse.copy(), int(order[0])
    parents, confidence = np.full(len(parent_of), root), np.ones(len(parent_of))
    parents[root] = -1
    for i in order[:0:-1]:
        parent = parent_of[i]
        weight = -inverse[i, parent] / inverse[i, i] if parent != root else 0.0
        if parent == root or weight < least:
            other_weights = -inverse[i] / inverse[i, i]
            other_weights[[i, root]] = 0
            confidence[i] = 1 - other_weights.max()
            continue
        parents[i], confidence[i] = parent, weight
        column = inverse[:, i].copy()
        inverse -= np.outer(column, column) / column[i]
        inverse[i], inverse[:, i] = 0, 0
        inverse[i, i] = 1
    return parents, np.clip(confidence, 0, 1)
