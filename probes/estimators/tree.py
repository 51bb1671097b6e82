"""One expert for each model tree, as in ProbeX's mixture of experts.

References
----------
.. [1] Kahana et al. 2024, arXiv:2410.13569: inside of one tree a linear function of the
   weights tells training classes, across trees none does, and networks of other trees make
   an expert worse.
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
    """Routes networks to the expert of their tree.

    Trees are found in the weights, see `Router`. Networks of trees too small for an expert
    share one. Where all networks of a tree are one group, its expert chooses on rows.

    Parameters
    ----------
    task, layout, layer
        See `Probe`; they take the place of those of the expert.
    expert : Probe, optional
        What is cloned for each tree. Default: `LinearProbe()`.
    smallest : int, default=20
        Networks that a tree needs for an expert of its own.
    strangers : {"shared", "nearest", "refuse"}, default="shared"
        Who predicts for a network that is near no root: the expert of small trees if there
        is one, otherwise that of the nearest root; always the latter; or nobody: an error.
    columns, apart, random_state
        See `Router`.

    Attributes
    ----------
    routes_ : Routes
    roots_ : ndarray of shape (trees,)
        Row of `experts_` for each tree.
    experts_ : tuple of Probe
    shared_ : int
        The expert of small trees, or -1.
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
        """Tree of each network (n,): 0, 1, ..., or -1 of a stranger."""
        check_is_fitted(self, "routes_")
        X = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        return self.routes_.nearest(X)

    def check(self) -> None:
        """Refuse parameters that cannot be, whatever the weights are."""
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
        """What the networks of one tree teach, on targets that all trees share."""
        kind = LinearProbe() if self.expert is None else self.expert
        expert: Probe = clone(kind).set_params(
            task=self.task, layout=self.layout, layer=self.layer
        )
        expert.targets_, expert.layers_ = self.targets_, self.layers_
        expert.n_features_in_ = X.shape[1]
        if hasattr(self, "classes_"):
            expert.classes_ = self.classes_
        own = np.unique(groups[rows], return_inverse=True)[1]
        if own.max() == 0:
            own = np.arange(len(rows))
        expert._fit(X[rows], y[rows], own)
        return expert

    def _scores(self, X: Array) -> Array:
        tree = self.routes_.nearest(X)
        strange = tree == UNKNOWN
        if strange.any() and self.strangers == "refuse":
            raise ValueError(
                f"{strange.sum()} of {len(X)} networks are near no root, the first in row "
                f"{np.flatnonzero(strange)[0]}. Leave them out, X[probe.tree(X) >= 0], or "
                "let the nearest expert answer: strangers='nearest'."
            )
        expert_of = self.roots_[
            np.where(strange, self.routes_.nearest(X, known=True), tree)
        ]
        if self.shared_ != UNKNOWN and self.strangers == "shared":
            expert_of = np.where(strange, self.shared_, expert_of)
        found = np.empty((len(X), self.targets_.width))
        for k in np.unique(expert_of):
            rows, expert = np.flatnonzero(expert_of == k), self.experts_[k]
            cut = expert._cut if self.task == "classification" else 0.0
            found[rows] = expert._scores(X[rows]) - cut
        return found
