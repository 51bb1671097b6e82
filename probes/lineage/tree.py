"""Recovery of fine-tuning parents: a spanning tree of distances, and its direction.

References
----------
.. [1] Horwitz et al. 2024, arXiv:2405.18432 (MoTHer): distances of weights are distances in
   the tree, and outliers, measured by kurtosis, become fewer as networks specialise.
   Differences: the spanning tree is undirected, and exact for each group of related
   networks; its links are checked, see `probes.lineage.inheritance`; and kurtosis, if
   requested, only selects the root by a vote of all edges, where [1]_ adds a penalty per
   edge, whose weight must be chosen.
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
    """Parents of n networks.

    Attributes
    ----------
    parent : ndarray of shape (n,)
        Row of the parent, or -1 for a root.
    distance : ndarray of shape (n,)
        Distance from the parent, relative to the norm of the network; NaN for a root.
    confidence : ndarray of shape (n,)
        Share, from 0 to 1, of what is particular to the parent that the network has. For
        children of the root, 1 - the largest share of any other network. NaN for a root.
    tree : ndarray of shape (n,)
        Number of the tree.
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
        Weights of n networks.
    layout : Layout, optional
        Layout over whose matrices the kurtosis is averaged. Default: kurtosis of all
        weights.
    direction : {"particular", "centre", "kurtosis", "rising kurtosis"}
        Choice of the root: the node with the smallest particular part (default), the node
        with the smallest sum of distances, or the node for which most edges lead from
        higher to lower kurtosis [1]_, or from lower to higher.
    apart : float, default=0.5
        Relative squared distance that separates trees, see `clustered`.
    inherited : float, default=0.75
        Share of what is particular to a parent that its child must have; other networks
        become children of the root. 0: links follow the distances alone.
    trees : ndarray of shape (n,), optional
        Trees of the networks, if known.
    roots : ndarray of shape (n,) of bool, optional
        True for known roots, at most one per tree; they determine the direction.

    Raises
    ------
    ValueError
        If the direction is unknown, or a tree has several roots.
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
        distances, inverse = np.sqrt(squared), precision(squared)
        is_root = np.zeros(n, bool) if roots is None else np.asarray(roots, bool)
        known_roots = np.flatnonzero(is_root[rows])
        if len(known_roots) > 1:
            raise ValueError(
                f"Tree {number} has {len(known_roots)} roots, rows "
                f"{rows[known_roots][:5].tolist()}. Pass at most one root per tree, or a "
                "smaller apart, which gives more trees."
            )
        edges = spanning_tree(distances)
        if len(known_roots):
            root = int(known_roots[0])
        elif direction == "particular":
            root = least_particular(inverse)
        elif peaks is None:
            root = int(distances.sum(1).argmin())
        else:
            sign = -1.0 if direction == "rising kurtosis" else 1.0
            root = voted_root(edges, sign * peaks[rows])
        parent_of, order = rooted(edges, root)
        parent_of, sure = checked_parents(parent_of, order, inverse, inherited)
        parent[rows] = np.where(parent_of < 0, -1, rows[parent_of])
        for i, row in enumerate(rows):
            if parent_of[i] < 0:
                continue
            # The Gram matrix rounds, so the distance of a link is computed again.
            difference = X[row].astype(np.float64) - X[rows[parent_of[i]]]
            length = float(np.linalg.norm(difference))
            distance[row] = length / norms[row] if norms[row] else 0.0
            confidence[row] = sure[i]
    return Links(parent, distance, confidence, tree)


def spanning_tree(away: Array) -> Array:
    """Return edges (n - 1, 2) of the minimum spanning tree of distances (n, n), by Prim."""
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
    """Return the root for which most edges lead from higher to lower values (n,)."""
    n = len(edges) + 1
    parent_of, order = rooted(edges, 0)
    votes = np.zeros(n)
    vote = np.zeros(n)
    for i in order[1:]:
        vote[i] = np.sign(falls[parent_of[i]] - falls[i])
    votes[0] = vote.sum()
    for i in order[1:]:  # moving the root over an edge reverses the edge
        votes[i] = votes[parent_of[i]] - 2 * vote[i]
    return int(votes.argmax())


def rooted(edges: Array, root: int) -> tuple[Array, Array]:
    """Return parents (n,), -1 for the root, and nodes ordered from the root outwards."""
    n = len(edges) + 1
    neighbours: list[list[int]] = [[] for _ in range(n)]
    for a, b in edges.tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)
    parent_of, order = np.full(n, -1), [root]
    for i in order:
        for other in neighbours[i]:
            if other != parent_of[i]:
                parent_of[other] = i
                order.append(other)
    return parent_of, np.array(order)


def kurtosis(X: Array, layout: Layout | None = None) -> Array:
    """Compute the mean kurtosis (n,) over matrices; 3 for normally distributed values."""
    parts = [slice(0, X.shape[1])]
    if layout is not None:
        matrices = [layout.slices[p.name] for p in layout if p.in_vector and p.size > 1]
        parts = matrices or parts
    total = np.zeros(len(X))
    for i, row in enumerate(X):  # one network at a time, without a copy of all
        for columns in parts:
            deviations = row[columns] - row[columns].mean(dtype=np.float64)
            square = np.square(deviations)
            second = square.mean()
            total[i] += np.square(square).mean() / second**2 if second > 0 else 0.0
    return total / len(parts)
