"""Who was fine-tuned from whom: a spanning tree of distances, and its direction.

References
----------
.. [1] Horwitz et al. 2024, arXiv:2405.18432 (MoTHer): distances of weights are distances in
   the tree, and outliers, measured by kurtosis, become fewer as networks specialise.
   Differs: the tree is the undirected one, exact for each group of relatives; its links are
   checked, see `probes.lineage.inheritance`; and kurtosis, if it is asked for, only says
   which node is the root, by a vote of all edges, where they add a penalty per edge with a
   weight to choose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog import Layout
from catalog.dtypes import Array
from probes.lineage.distances import squared_distances, squared_norms
from probes.lineage.inheritance import checked_parents, least_particular, precision
from probes.lineage.router import clustered

DIRECTIONS = ("particular", "centre", "kurtosis", "rising kurtosis")


@dataclass(frozen=True)
class Links:
    """The parent of each of n networks.

    Attributes
    ----------
    parent : ndarray of shape (n,)
        Its row, or -1 of a root.
    distance : ndarray of shape (n,)
        From the parent, in the norm of the network; NaN of a root.
    confidence : ndarray of shape (n,)
        How much of what is particular to the parent the network has, from 0 to 1; of
        children of the root 1 - the most that it has of any other. NaN of a root.
    tree : ndarray of shape (n,)
        Number of its tree.
    """

    parent: Array
    distance: Array
    confidence: Array
    tree: Array


def recover_parents(
    X: Array,
    *,
    layout: Layout | None = None,
    direction: str = "particular",
    apart: float = 0.5,
    inherited: float = 0.75,
    trees: Array | None = None,
    roots: Array | None = None,
) -> Links:
    """Recover the parents of networks from their weights.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    layout : Layout, optional
        Kurtosis is that of its matrices, on average. Default: of all weights.
    direction : {"particular", "centre", "kurtosis", "rising kurtosis"}
        The root is the node of which least is particular to it (default), the one with the
        least sum of distances, or that for which most edges lead from higher to lower
        kurtosis [1]_, or to higher.
    apart : float, default=0.5
        Relative squared distance that parts trees, see `clustered`.
    inherited : float, default=0.75
        Share of what is particular to a parent that its child must have; others are
        children of the root. 0 believes the distances.
    trees : ndarray of shape (n,), optional
        If they are known.
    roots : ndarray of shape (n,) of bool, optional
        If they are known: at most one in a tree, and the direction follows.

    Raises
    ------
    ValueError
        If there is no such direction, or a tree has two roots.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"The direction must be one of {DIRECTIONS}. Got {direction!r}.")
    n = len(X)
    tree = (
        clustered(X, apart) if trees is None else np.unique(trees, return_inverse=True)[1]
    )
    parent, distance, confidence = np.full(n, -1), np.full(n, np.nan), np.full(n, np.nan)
    norms = np.sqrt(squared_norms(X))
    peaks = kurtosis(X, layout) if "kurtosis" in direction else None
    for number in range(tree.max() + 1):
        rows = np.flatnonzero(tree == number)
        squared = squared_distances(X[rows])
        away, inverse = np.sqrt(squared), precision(squared)
        given = np.zeros(n, bool) if roots is None else np.asarray(roots, bool)
        known = np.flatnonzero(given[rows])
        if len(known) > 1:
            raise ValueError(
                f"Tree {number} has {len(known)} roots, rows {rows[known][:5].tolist()}. "
                "Networks that stand apart are of trees of their own: lower apart."
            )
        edges = spanning_tree(away)
        if len(known):
            root = int(known[0])
        elif direction == "particular":
            root = least_particular(inverse)
        elif peaks is None:
            root = int(away.sum(1).argmin())
        else:
            sign = -1.0 if direction == "rising kurtosis" else 1.0
            root = voted_root(edges, sign * peaks[rows])
        up, order = rooted(edges, root)
        up, sure = checked_parents(up, order, inverse, inherited)
        parent[rows] = np.where(up < 0, -1, rows[up])
        for i, row in enumerate(rows):
            if up[i] < 0:
                continue
            # The Gram matrix rounds; a link is measured anew.
            step = X[row].astype(np.float64) - X[rows[up[i]]]
            length = float(np.linalg.norm(step))
            distance[row] = length / norms[row] if norms[row] else 0.0
            confidence[row] = sure[i]
    return Links(parent, distance, confidence, tree)


def spanning_tree(away: Array) -> Array:
    """Edges (n - 1, 2) of the minimum spanning tree of distances (n, n), after Prim."""
    n = len(away)
    best, nearest = away[0].astype(np.float64), np.zeros(n, np.int64)
    outside = np.ones(n, bool)
    outside[0] = False
    edges = np.empty((n - 1, 2), np.int64)
    for k in range(n - 1):
        new = int(np.where(outside, best, np.inf).argmin())
        edges[k] = nearest[new], new
        outside[new] = False
        closer = away[new] < best
        best[closer], nearest[closer] = away[new][closer], new
    return edges


def voted_root(edges: Array, falls: Array) -> int:
    """The root for which most edges lead from higher to lower values (n,)."""
    n = len(edges) + 1
    up, order = rooted(edges, 0)
    votes = np.zeros(n)
    right = np.zeros(n)
    for i in order[1:]:
        right[i] = np.sign(falls[up[i]] - falls[i])
    votes[0] = right.sum()
    for i in order[1:]:  # moving the root over an edge turns it round
        votes[i] = votes[up[i]] - 2 * right[i]
    return int(votes.argmax())


def rooted(edges: Array, root: int) -> tuple[Array, Array]:
    """Parents (n,), -1 of the root, and all nodes with parents before their children."""
    n = len(edges) + 1
    beside: list[list[int]] = [[] for _ in range(n)]
    for a, b in edges.tolist():
        beside[a].append(b)
        beside[b].append(a)
    up, order = np.full(n, -1), [root]
    for i in order:
        for other in beside[i]:
            if other != up[i]:
                up[other] = i
                order.append(other)
    return up, np.array(order)


def kurtosis(X: Array, layout: Layout | None = None) -> Array:
    """Mean over matrices of the kurtosis of their values, (n,); 3 of a normal one."""
    parts = [slice(0, X.shape[1])]
    if layout is not None:
        matrices = [layout.slices[p.name] for p in layout if p.in_vector and p.size > 1]
        parts = matrices or parts
    total = np.zeros(len(X))
    for i, row in enumerate(X):  # a network at a time: no copy of all
        for columns in parts:
            off = row[columns] - row[columns].mean(dtype=np.float64)
            square = np.square(off)
            second = square.mean()
            total[i] += np.square(square).mean() / second**2 if second > 0 else 0.0
    return total / len(parts)
