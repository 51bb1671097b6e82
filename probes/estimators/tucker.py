"""Tucker expert in closed form: ridge, its shared subspaces, ridge on small cores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from catalog.dtypes import Array
from probes.exact.centring import Root, Scale
from probes.exact.dealing import check_folds, deal
from probes.exact.expert import Expert
from probes.exact.features import coefficients, explained, unseen
from probes.exact.gram import joint_gram
from probes.exact.ridge import Spectrum, best, check_alphas, path
from probes.exact.subspace import cores, own_bases, shared_bases
from probes.probe import Probe

Bases = Literal["shared", "target"]
BASES = get_args(Bases)
RANKS = {"shared": (1, 2, 4, 8, 16, 32, 64, 128), "target": (1, 2, 4, 8)}
"""Ranks that are tried by default."""


@dataclass(eq=False, repr=False)
class TuckerProbe(TransformerMixin, Probe):
    """Ridge regression on weights projected onto the subspaces that ridge found.

    A linear ProbeX [1]_ is a dense expert whose matrices W_t, one for each target, share
    Tucker factors. Here the factors are found without gradient descent: (1) exact ridge
    gives W_t; (2) the leading k eigenvectors of sum_t W_t W_t.T and sum_t W_t.T W_t are
    bases V (dH, k) and U (dW, k); (3) ridge again, on cores V.T X U of k x k values. Rank
    and penalty are chosen on groups that had no part in any of the three steps.

    Memory beyond X: the matrices W_t (targets x layer), cores of the largest rank, and
    some float64 matrices of n x n.

    Parameters
    ----------
    task, layout, layer
        See `Probe`. Each of several layers has its own bases; the cores of all layers are
        joined to one vector.
    root, scale, alphas
        See `LinearProbe`.
    ranks : sequence of int, optional
        Ranks k to choose from; a rank larger than the matrix is reduced to its size.
        Default: 1, 2, 4, ... up to 128, or up to 8 with ``bases="target"``.
    bases : {"shared", "target"}, default="shared"
        "target": every target has its own bases, from the singular vectors of its W_t, and
        its own fit on the cores in these bases.
    folds : int, default=5
        Number of folds of groups on which rank and penalty are chosen.
    random_state : int, default=0
        Seed for the assignment of groups to folds.

    Attributes
    ----------
    rank_, alpha_ : int, float
        Rank and penalty with the highest mean R2 on held-out groups.
    path_ : ndarray of shape (len(ranks_), len(alphas_), width)
        R2 on held-out groups, with bases that were fitted without these groups. Errors in
        closed form on cores whose bases were fitted to all rows are far too low (see
        Notes).
    ranks_, alphas_ : ndarray
        Ranks and penalties that were tried.
    first_alpha_ : float
        Penalty of the ridge regression from which the bases are computed.
    centrings_ : tuple of Centring
        Centring of each layer.
    left_, right_ : tuple of ndarray, (dH, k) and (dW, k), or (width, dH, k), (width, dW, k)
        Bases V and U of each layer.
    coef_ : ndarray of shape (width, values of the cores)
        Ridge coefficients of the values of the cores.
    intercept_ : ndarray of shape (width,)
        Intercept of each target.

    Raises
    ------
    ValueError
        If there are fewer than 3 groups, or a rank, a penalty or ``bases`` is invalid.

    Notes
    -----
    On random weights and targets (200 networks of 32 x 32, 10 targets, rank 8, five seeds)
    leave-one-out in closed form on cores reports R2 = 0.16 to 0.22, and `path_` 0.00.

    References
    ----------
    .. [1] Kahana et al. 2024, arXiv:2410.13569, propositions 1 and 2. Difference: a
       closed-form solution.
    """

    name: ClassVar[str] = "tucker"
    summary: ClassVar[str] = "exact ridge, its shared subspaces, and ridge on k x k cores"

    root: Root = "mean"
    scale: Scale = "global"
    alphas: Sequence[float] | None = None
    ranks: Sequence[int] | None = None
    bases: Bases = "shared"
    folds: int = 5
    random_state: int = 0

    def transform(self, X: Array) -> Array:
        """Return the cores (n, k, k) of a single layer, or (n, values) of several layers.

        With ``bases="target"`` the shape is (n, width, k, k), or (n, width, values).
        """
        check_is_fitted(self, "left_")
        X = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        layer_cores = self._cores(X)
        if len(layer_cores) > 1:
            joined = self._features(layer_cores, self.rank_)
            return joined[:, 0] if self.bases == "shared" else joined
        return layer_cores[0][:, 0] if self.bases == "shared" else layer_cores[0]

    def check(self) -> None:
        """Check the parameters without the weights; raise `ValueError` if invalid."""
        super().check()
        check_alphas(self.alphas)
        check_folds(self.folds)
        if self.bases not in BASES:
            raise ValueError(f"The bases must be one of {BASES}. Got {self.bases!r}.")
        ranks = (1,) if self.ranks is None else list(self.ranks)
        if not ranks or any(int(k) != k or k < 1 for k in ranks):
            raise ValueError(f"The ranks must be whole numbers above 0. Got {ranks!r}.")

    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        alphas, ranks = check_alphas(self.alphas), self._ranks()
        fold_of = deal(groups, self.folds, self.random_state)
        self.ranks_, self.alphas_ = np.array(ranks), np.array(alphas)
        K, self.centrings_ = joint_gram(X, self.layers_, self.root, self.scale)
        squares = np.zeros((len(ranks), len(alphas), y.shape[1]))
        null = np.zeros(y.shape[1])
        for fold in np.unique(fold_of):
            train, rest = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
            null += np.square(y[rest] - y[train].mean(0)).sum(0)
            self._learn_bases(X, K, y, groups, train, max(ranks))
            cores = self._cores(X)
            for i, rank in enumerate(ranks):
                for Z, targets in self._views(self._features(cores, rank), y):
                    errors = unseen(Z, y[:, targets], train, rest, alphas)
                    for j, error in enumerate(errors):
                        squares[i, j, targets] += np.square(error).sum(0)
        self.path_ = explained(squares, null, y)
        mean = self.path_.mean(2)
        best_rank = int(np.argmax(mean.max(1)))
        self.rank_, self.alpha_ = int(ranks[best_rank]), best(alphas, mean[best_rank])
        self._learn_bases(X, K, y, groups, np.arange(len(X)), self.rank_)
        Z = self._features(self._cores(X), self.rank_)
        self.coef_ = np.empty((y.shape[1], Z.shape[2]))
        self.intercept_ = np.empty(y.shape[1])
        for features, targets in self._views(Z, y):
            coef, self.intercept_[targets] = coefficients(
                features, y[:, targets], self.alpha_
            )
            self.coef_[targets] = coef.T

    def _scores(self, X: Array) -> Array:
        Z = self._features(self._cores(X), self.rank_)
        if self.bases == "shared":
            return Z[:, 0] @ self.coef_.T + self.intercept_
        scores: Array = np.einsum("nsq,sq->ns", Z, self.coef_)
        return scores + self.intercept_

    def _learn_bases(
        self, X: Array, K: Array, y: Array, groups: Array, train: Array, rank: int
    ) -> None:
        """Fit ridge regression to some rows, and compute the bases of its matrices."""
        spectrum = Spectrum.of_gram(K[np.ix_(train, train)], float(np.finfo(X.dtype).eps))
        scores = path(spectrum, y[train], groups[train], tuple(self.alphas_)).mean(1)
        self.first_alpha_ = best(tuple(self.alphas_), scores)
        dual = np.zeros(y.shape)  # 0 for other rows, so that X need not be copied
        dual[train] = spectrum.dual(y[train] - y[train].mean(0), self.first_alpha_)
        bases_of = shared_bases if self.bases == "shared" else own_bases
        experts = (Expert.of(X, centring, dual) for centring in self.centrings_)
        pairs = [bases_of(expert.coefficients, rank) for expert in experts]
        self.left_ = tuple(left for left, _ in pairs)
        self.right_ = tuple(right for _, right in pairs)

    def _cores(self, X: Array) -> list[Array]:
        return [
            cores(X, centring, left, right)
            for centring, left, right in zip(
                self.centrings_, self.left_, self.right_, strict=True
            )
        ]

    def _features(self, layer_cores: list[Array], rank: int) -> Array:
        """Cut the cores to a rank and join them, (n, sets, values)."""
        cut = [c[:, :, :rank, :rank] for c in layer_cores]
        return np.concatenate([c.reshape(*c.shape[:2], -1) for c in cut], axis=2)

    def _views(self, Z: Array, y: Array) -> Iterator[tuple[Array, slice]]:
        """Yield features (n, values) with the targets that are fitted to them."""
        if self.bases == "shared":
            yield Z[:, 0], slice(None)
        else:
            for t in range(y.shape[1]):
                yield Z[:, t], slice(t, t + 1)

    def _ranks(self) -> list[int]:
        """Return the distinct ranks to choose from, at most the size of a matrix."""
        ranks = RANKS[self.bases] if self.ranks is None else self.ranks
        largest = max(max(layer.shape) for layer in self.layers_)
        return sorted({min(int(k), largest) for k in ranks})

    @property
    def _cut(self) -> float:
        return 0.5 if self.task == "classification" else 0.0
