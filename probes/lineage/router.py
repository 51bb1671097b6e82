"""Assignment of networks to model trees, by the nearest root on a sample of weights.

References
----------
.. [1] Kahana et al. 2024, arXiv:2410.13569, section on model trees: hierarchical clustering
   of the training weights, and the nearest centroid for a new network. Differences: only a
   sample of the weights is used, and a network that is far from all centroids is assigned
   to no tree.
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
"""Tree number of a network that is near no root."""


@dataclass(frozen=True)
class Routes:
    """Fitted arrays of a router.

    Attributes
    ----------
    columns : ndarray of shape (m,)
        Columns of the weights that are compared.
    centroids : ndarray of shape (trees, m)
        Mean of the compared weights of each tree.
    limits : ndarray of shape (trees,)
        Relative squared distance above which a network belongs to no tree.
    """

    columns: Array
    centroids: Array
    limits: Array

    def distances(self, X: Array) -> Array:
        """Return relative squared distances (n, trees), about 1 for unrelated networks."""
        sample = X[:, self.columns].astype(np.float64)
        norms, centroid_norms = squared_norms(sample), squared_norms(self.centroids)
        cross = sample @ self.centroids.T
        squared = np.maximum(norms[:, None] + centroid_norms - 2 * cross, 0)
        return relative(squared, norms, centroid_norms)

    def nearest(self, X: Array, *, known: bool = False) -> Array:
        """Return the tree (n,) of each network or `UNKNOWN`; with ``known`` the nearest."""
        distances = self.distances(X)
        tree = distances.argmin(1)
        if known:
            return tree
        near = distances[np.arange(len(X)), tree] <= self.limits[tree]
        return np.where(near, tree, UNKNOWN)


class Router(BaseEstimator):
    """Classifier that assigns networks to the nearest tree of the training set.

    Parameters
    ----------
    columns : int, default=8192
        Number of weights to compare, drawn at random. Distances between trees are so much
        larger than distances within trees that a small sample is enough.
    apart : float, default=0.5
        Relative squared distance that separates trees if they are not given: networks
        belong to one tree if a chain of neighbours with smaller distances connects them.
        Unrelated networks have a distance of about 1.
    random_state : int, default=0
        Seed for the choice of weights.

    Attributes
    ----------
    routes_ : Routes
        Centroids and limits by which networks are assigned.
    trees_ : ndarray of shape (n,)
        Tree of each training network: 0, 1, ... in order of appearance.
    classes_ : ndarray of shape (trees,)
        Labels of the trees: those passed to `fit`, or numbers.
    """

    def __init__(
        self, columns: int = 8192, apart: float = 0.5, random_state: int = 0
    ) -> None:
        self.columns = columns
        self.apart = apart
        self.random_state = random_state

    def fit(self, X: Array, y: Array | None = None) -> Self:
        """Fit roots to weights (n, d) and, if they are known, to the trees (n,).

        The limit of a tree is the geometric mean of the largest distance in training and
        the distance of unrelated networks.

        Raises
        ------
        ValueError
            If a parameter is out of bounds.
        """
        if self.columns < 1 or not 0 < self.apart < 1:
            raise ValueError(
                "columns of Router must be at least 1, and apart between 0 and 1. Got "
                f"{self.columns!r} and {self.apart!r}."
            )
        X = validate_data(self, X, dtype=(np.float32, np.float64))
        rng, d = np.random.default_rng(self.random_state), X.shape[1]
        picked = np.sort(rng.permutation(d)[: self.columns])
        sample = X[:, picked].astype(np.float64)
        if y is None:
            self.trees_ = clustered(sample, self.apart)
            self.classes_ = np.arange(self.trees_.max() + 1)
        else:
            self.classes_, self.trees_ = np.unique(np.asarray(y), return_inverse=True)
        count = len(self.classes_)
        centroids = np.stack([sample[self.trees_ == k].mean(0) for k in range(count)])
        routes = Routes(picked, centroids, np.ones(count))
        distances = routes.distances(X)[np.arange(len(X)), self.trees_]
        widest = np.array([distances[self.trees_ == k].max() for k in range(count)])
        single = np.bincount(self.trees_, minlength=count) < 2
        widest[single] = widest[~single].max() if not single.all() else self.apart**2
        self.routes_ = Routes(picked, centroids, np.sqrt(widest))
        return self

    def predict(self, X: Array) -> Array:
        """Return the label of the tree of each network (n,), or -1 (``""`` for strings)."""
        check_is_fitted(self, "routes_")
        X = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        trees = self.routes_.nearest(X)
        none = np.zeros((), self.classes_.dtype)
        if self.classes_.dtype.kind not in "US":
            none = none + UNKNOWN
        return np.where(trees == UNKNOWN, none, self.classes_[trees])


def clustered(X: Array, apart: float = 0.5) -> Array:
    """Cluster networks (n, d) into trees (n,), 0, 1, ... in order of appearance.

    The clusters are a single linkage of relative squared distances, cut at ``apart``, so
    that a fine-tune of a fine-tune belongs to the tree of the first.
    """
    if len(X) == 1:
        return np.zeros(1, np.int64)
    norms = squared_norms(X)
    distances = relative(squared_distances(X), norms, norms)
    np.fill_diagonal(distances, 0)
    dendrogram = linkage(squareform(distances, checks=False), "single")
    labels = fcluster(dendrogram, apart, "distance")
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order: Array = np.argsort(np.argsort(first))[inverse]
    return order
