"""Who was fine-tuned from whom: a spanning tree of distances, and its direction.

References
----------
.. [1] Horwitz et al. 2024, arXiv:2405.18432 (MoTHer): distances of weights are distances in
   the tree, and outliers, measured by kurtosis, become fewer as networks specialise.
   Differs: the tree is the undirected one, exact for each group of relatives, and kurtosis
   only says which of its nodes is the root, by a vote of all edges; they add a penalty per
   edge with a weight to choose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog import Layout
from catalog.dtypes import Array
from probes.lineage.distances import squared_distances, squared_norms
from probes.lineage.router import clustered

DIRECTIONS = ("centre", "kurtosis", "rising kurtosis")


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
        1 - distance / that of the next candidate, which is no descendant: 0 if another
        is as near, 1 of an exact copy; NaN of a root. Siblings of independent fine-tunes
        give 0.29.
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
    direction: str = "centre",
    apart: float = 0.5,
    trees: Array | None = None,
    roots: Array | None = None,
) -> Links:
    """Recover the parents of networks from their weights.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    layout : Layout, optional
        Kurtosis is that of its matrices, on average. Default: of all weights.
    direction : {"centre", "kurtosis", "rising kurtosis"}, default="centre"
        The root is the node with the least sum of distances, or the one for which most
        edges lead from higher to lower kurtosis [1]_, or to higher.
    apart : float, default=0.5
        Relative squared distance that parts trees, see `clustered`.
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
    peaks = None if direction == "centre" else kurtosis(X, layout)
    for number in range(tree.max() + 1):
        rows = np.flatnonzero(tree == number)
        away = np.sqrt(squared_distances(X[rows]))
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
        elif peaks is None:
            root = int(away.sum(1).argmin())
        else:
            sign = -1.0 if direction == "rising kurtosis" else 1.0
            root = voted_root(edges, sign * peaks[rows])
        up, below = rooted(edges, root)
        parent[rows] = np.where(up < 0, -1, rows[up])
        for i, row in enumerate(rows):
            if up[i] < 0:
                continue
            # The Gram matrix rounds; a link is measured anew.
            step = X[row].astype(np.float64) - X[rows[up[i]]]
            length = float(np.linalg.norm(step))
            distance[row] = length / norms[row] if norms[row] else 0.0
            others = ~below[i]
            others[[i, up[i]]] = False
            nearest = away[i, others].min() if others.any() else norms[row]
            sure = 1 - length / nearest if nearest > 0 else 0.0
            confidence[row] = max(float(sure), 0.0)
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
    up, _ = rooted(edges, 0)
    order = _outwards(up)
    votes = np.zeros(n)
    right = np.zeros(n)
    for i in order[1:]:
        right[i] = np.sign(falls[up[i]] - falls[i])
    votes[0] = right.sum()
    for i in order[1:]:  # moving the root over an edge turns it round
        votes[i] = votes[up[i]] - 2 * right[i]
    return int(votes.argmax())


def rooted(edges: Array, root: int) -> tuple[Array, Array]:
    """Parents (n,), -1 of the root, and who is below whom: (n, n), with itself."""
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
    below = np.eye(n, dtype=bool)
    for i in reversed(order[1:]):
        below[up[i]] |= below[i]
    return up, below


def _outwards(up: Array) -> list[int]:
    """Nodes with every parent before its children."""
    children: dict[int, list[int]] = {}
    for i, parent in enumerate(up.tolist()):
        children.setdefault(parent, []).append(i)
    order = list(children[-1])
    for i in order:
        order += children.get(i, [])
    return order


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
