"""Probe with one expert for each model tree, as in the mixture of experts of ProbeX.

References
----------
.. [1] Kahana et al. 2024, arXiv:2410.13569: within one tree a linear function of the
   weights predicts training classes, across trees no linear function does, and networks of
   other trees make an expert worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, validate_data

from catalog.dtypes import Array
from probes.estimators.linear import LinearProbe
from probes.lineage.router import UNKNOWN, Router, Routes
from probes.probe import Probe

Strangers = Literal["shared", "nearest", "refuse"]
STRANGERS = get_args(Strangers)


@dataclass(eq=False, repr=False)
class TreeProbe(Probe):
    """Mixture of experts that routes each network to the expert of its tree.

    Trees are found from the weights, see `Router`. Trees too small for an expert share one
    expert. Where all networks of a tree are one group, the expert of the tree chooses its
    parameters on single rows.

    Parameters
    ----------
    task, layout, layer
        See `Probe`; they replace these parameters of the expert.
    expert : Probe, optional
        Probe to clone for each tree. Default: `LinearProbe()`.
    smallest : int, default=20
        Minimum number of networks of a tree with its own expert.
    strangers : {"shared", "nearest", "refuse"}, default="shared"
        Handling of a network that is near no root. "shared": the expert of small trees
        predicts if there is one, otherwise the expert of the nearest root. "nearest": the
        expert of the nearest root predicts. "refuse": `ValueError`.
    columns, apart, random_state
        See `Router`.

    Attributes
    ----------
    routes_ : Routes
        Assignment of networks to the trees.
    roots_ : ndarray of shape (trees,)
        Index into `experts_` for each tree.
    experts_ : tuple of Probe
        Fitted experts.
    shared_ : int
        Index of the expert of small trees, or -1.
    """

    name: ClassVar[str] = "tree"
    summary: ClassVar[str] = "one expert for each model tree, networks routed by weights"

    expert: Probe | None = None
    smallest: int = 20
    strangers: Strangers = "shared"
    columns: int = 8192
    apart: float = 0.5
    random_state: int = 0

    def tree(self, X: Array) -> Array:
        """Return the tree of each network (n,): 0, 1, ..., or -1 if it is near no root."""
        check_is_fitted(self, "routes_")
        X = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        return self.routes_.nearest(X)

    def check(self) -> None:
        """Check the parameters without the weights; raise `ValueError` if invalid."""
        super().check()
        if self.smallest < 2 or self.strangers not in STRANGERS:
            raise ValueError(
                f"smallest of TreeProbe must be at least 2 and strangers one of "
                f"{STRANGERS}. Got {self.smallest!r} and {self.strangers!r}."
            )

    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        router = Router(self.columns, self.apart, self.random_state).fit(X)
        self.routes_: Routes = router.routes_
        sizes = np.bincount(router.trees_)
        large = np.flatnonzero(sizes >= self.smallest)
        self.roots_ = np.full(len(sizes), len(large))
        self.roots_[large] = np.arange(len(large))
        self.shared_ = len(large) if len(large) < len(sizes) else UNKNOWN
        expert_of = self.roots_[router.trees_]
        self.experts_: tuple[Probe, ...] = tuple(
            self._expert(X, y, groups, np.flatnonzero(expert_of == k))
            for k in range(expert_of.max() + 1)
        )

    def _expert(self, X: Array, y: Array, groups: Array, rows: Array) -> Probe:
        """Fit the expert of one tree, on the encoded targets that all trees share."""
        template = LinearProbe() if self.expert is None else self.expert
        expert: Probe = clone(template).set_params(
            task=self.task, layout=self.layout, layer=self.layer
        )
        expert.targets_, expert.layers_ = self.targets_, self.layers_
        expert.n_features_in_ = X.shape[1]
        if hasattr(self, "classes_"):
            expert.classes_ = self.classes_
        tree_groups = np.unique(groups[rows], return_inverse=True)[1]
        if tree_groups.max() == 0:
            tree_groups = np.arange(len(rows))
        expert._fit(X[rows], y[rows], tree_groups)
        return expert

    def _scores(self, X: Array) -> Array:
        tree = self.routes_.nearest(X)
        is_stranger = tree == UNKNOWN
        if is_stranger.any() and self.strangers == "refuse":
            raise ValueError(
                f"{is_stranger.sum()} of {len(X)} networks are near no root, the first in "
                f"row {np.flatnonzero(is_stranger)[0]}. Leave these rows out, "
                "X[probe.tree(X) >= 0], or use the nearest expert: strangers='nearest'."
            )
        expert_of = self.roots_[
            np.where(is_stranger, self.routes_.nearest(X, known=True), tree)
        ]
        if self.shared_ != UNKNOWN and self.strangers == "shared":
            expert_of = np.where(is_stranger, self.shared_, expert_of)
        scores = np.empty((len(X), self.targets_.width))
        for k in np.unique(expert_of):
            rows, expert = np.flatnonzero(expert_of == k), self.experts_[k]
            cut = expert._cut if self.task == "classification" else 0.0
            scores[rows] = expert._scores(X[rows]) - cut
        return scores
