"""Which model tree a network belongs to: the nearest root, on a few of the weights.

References
----------
.. [1] Kahana et al. 2024, arXiv:2410.13569, section on model trees: hierarchical clustering
   of the training weights, the nearest centroid for a new network. Differs: a sketch of
   the weights is enough, and a network that is near no centroid is said to be of none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from catalog.dtypes import Array
from probes.lineage.distances import relative, squared_distances, squared_norms

UNKNOWN = -1
"""The tree of a network that is near no root."""


@dataclass(frozen=True)
class Routes:
    """What routing needs: numbers alone.

    Attributes
    ----------
    columns : ndarray of shape (m,)
        Which weights are looked at.
    centroids : ndarray of shape (trees, m)
    limits : ndarray of shape (trees,)
        Relative squared distance from which on a network is of no tree.
    """

    columns: Array
    centroids: Array
    limits: Array

    def distances(self, X: Array) -> Array:
        """Relative squared distances (n, trees): 0 of copies, about 1 of strangers."""
        seen = X[:, self.columns].astype(np.float64)
        own, other = squared_norms(seen), squared_norms(self.centroids)
        cross = seen @ self.centroids.T
        squared = np.maximum(own[:, None] + other - 2 * cross, 0)
        return relative(squared, own, other)

    def nearest(self, X: Array, *, known: bool = False) -> Array:
        """Tree of each network (n,), or `UNKNOWN`; with ``known`` the nearest anyway."""
        away = self.distances(X)
        tree = away.argmin(1)
        if known:
            return tree
        near = away[np.arange(len(X)), tree] <= self.limits[tree]
        return np.where(near, tree, UNKNOWN)


class Router(BaseEstimator):
    """Routes networks to the nearest of the trees seen in training.

    Parameters
    ----------
    columns : int, default=8192
        Weights that are looked at, drawn at random. Distances of trees are so much larger
        than those within that few are enough.
    apart : float, default=0.5
        Where trees are not given, networks are of one tree if a chain of neighbours with a
        relative squared distance below this joins them; strangers have about 1.
    random_state : int, default=0
        Of the draw.

    Attributes
    ----------
    routes_ : Routes
    trees_ : ndarray of shape (n,)
        Tree of each network of the training: 0, 1, ... in order of appearance.
    classes_ : ndarray of shape (trees,)
        What the trees are called: labels given to `fit`, or numbers.
    """

    def __init__(
        self, columns: int = 8192, apart: float = 0.5, random_state: int = 0
    ) -> None:
        self.columns = columns
        self.apart = apart
        self.random_state = random_state

    def fit(self, X: Array, y: Array | None = None) -> Self:
        """Learn roots from weights (n, d) and, if it is known, the tree of each (n,).

        The limit of a tree is the geometric mean of the largest distance in training
        and that of a stranger.

        Raises
        ------
        ValueError
            If parameters are out of their bounds.
        """
        if self.columns < 1 or not 0 < self.apart < 1:
            raise ValueError(
                "columns of Router must be at least 1 and apart between 0 and 1. Got "
                f"{self.columns!r} and {self.apart!r}."
            )
        X = validate_data(self, X, dtype=(np.float32, np.float64))
        rng, d = np.random.default_rng(self.random_state), X.shape[1]
        picked = np.sort(rng.permutation(d)[: self.columns])
        seen = X[:, picked].astype(np.float64)
        if y is None:
            self.trees_ = clustered(seen, self.apart)
            self.classes_ = np.arange(self.trees_.max() + 1)
        else:
            self.classes_, self.trees_ = np.unique(np.asarray(y), return_inverse=True)
        count = len(self.classes_)
        centroids = np.stack([seen[self.trees_ == k].mean(0) for k in range(count)])
        routes = Routes(picked, centroids, np.ones(count))
        own = routes.distances(X)[np.arange(len(X)), self.trees_]
        widest = np.array([own[self.trees_ == k].max() for k in range(count)])
        alone = np.bincount(self.trees_, minlength=count) < 2
        widest[alone] = widest[~alone].max() if not alone.all() else self.apart**2
        self.routes_ = Routes(picked, centroids, np.sqrt(widest))
        return self

    def predict(self, X: Array) -> Array:
        """Tree of each network (n,): a label of `classes_`, or -1 (``""`` of words)."""
        check_is_fitted(self, "routes_")
        X = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        found = self.routes_.nearest(X)
        none = np.zeros((), self.classes_.dtype)
        if self.classes_.dtype.kind not in "US":
            none = none + UNKNOWN
        return np.where(found == UNKNOWN, none, self.classes_[found])


def clustered(X: Array, apart: float = 0.5) -> Array:
    """Trees (n,) of networks (n, d), 0, 1, ... in order of appearance.

    Single linkage of relative squared distances, cut at ``apart``: a fine-tune of a
    fine-tune is still of the tree of the first.
    """
    if len(X) == 1:
        return np.zeros(1, np.int64)
    own = squared_norms(X)
    away = relative(squared_distances(X), own, own)
    np.fill_diagonal(away, 0)
    joined = linkage(squareform(away, checks=False), "single")
    labels = fcluster(joined, apart, "distance")
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order: Array = np.argsort(np.argsort(first))[inverse]
    return order
