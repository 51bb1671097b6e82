"""Several layers at once: ridge with one kernel for each and learnt weights of layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from probes.exact.centring import Root, Scale
from probes.exact.expert import Expert
from probes.exact.features import check_folds, deal, explained, unseen_by
from probes.exact.gram import gram
from probes.exact.layer_weights import learnt
from probes.exact.ridge import Spectrum, best, centre, check_alphas, path
from probes.probe import Probe

PRIORS = (np.inf, 0.1, 0.01)
_GONE = 1e-3
_EPS = float(np.finfo(np.float32).eps)


@dataclass(eq=False, repr=False)
class KernelProbe(Probe):
    """Ridge regression on several layers, of which each counts as much as it helps.

    Every layer has a Gram matrix of the same mean diagonal. Their weights minimise the
    error on held-out groups in closed form; how far they may differ, and the penalty, are
    chosen on groups that had no part in the weights. Layers below a thousandth of the
    largest are left out. Low-rank updates are never formed where their rank makes that
    cheaper.

    Memory beyond X: n x n float32 for every layer, twice (1,000 networks and 74 layers:
    600 MB), some float64 matrices of n x n, and the matrices of the fit (width x d, or of
    low-rank updates the factors of the training networks).

    Parameters
    ----------
    task, layout, layer
        See `Probe`.
    root, scale, alphas
        See `LinearProbe`.
    priors : sequence of float, default=(inf, 0.1, 0.01)
        Costs, to choose from, of telling layers apart: each layer whose weight is e times
        the geometric mean adds this share of the variance, over the number of layers.
        With infinity all layers are alike.
    folds : int, default=5
        Parts into which groups are dealt, to choose cost and penalty.
    steps : int, default=50
        Of the quasi-Newton method for the weights.
    random_state : int, default=0
        How groups are dealt.

    Attributes
    ----------
    weights_ : ndarray of shape (layers,)
        Not negative, with sum 1; 0 for layers that are left out.
    prior_, alpha_ : float
        Chosen for the highest mean R2; the penalty is in units of the mean diagonal of the
        kernel.
    path_ : ndarray of shape (len(priors), len(alphas_), width); with one layer (1, ...)
        R2 on held-out groups, with weights that were learnt without them.
    alphas_ : ndarray
    experts_ : tuple of Expert
    intercept_ : ndarray of shape (width,)

    Raises
    ------
    ValueError
        If there are fewer than 3 groups, or a prior is not above 0.

    Notes
    -----
    ProbeX (arXiv:2410.13569) reads one layer.
    """

    name: ClassVar[str] = "kernel"
    summary: ClassVar[str] = "exact ridge on all layers, their weights by held-out groups"

    root: Root = "mean"
    scale: Scale = "global"
    alphas: Sequence[float] | None = None
    priors: Sequence[float] = PRIORS
    folds: int = 5
    steps: int = 50
    random_state: int = 0

    def check(self) -> None:
        """Refuse parameters that cannot be, whatever the weights are."""
        super().check()
        check_alphas(self.alphas)
        check_folds(self.folds)
        priors = [float(prior) for prior in self.priors]
        if not priors or not min(priors) > 0:
            raise ValueError(f"The priors must be numbers above 0. Got {self.priors!r}.")

    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        alphas, n = check_alphas(self.alphas), len(X)
        priors = [float(prior) for prior in self.priors]
        if len(self.layers_) == 1:
            priors = priors[:1]  # all the same
        parts = deal(groups, self.folds, self.random_state)
        kernels = np.empty((len(self.layers_), n, n), np.float32)
        means = np.empty((len(self.layers_), n))
        centrings, units = [], np.ones(len(self.layers_))
        for i, layer in enumerate(self.layers_):
            K, centring = gram(X, layer, self.root, self.scale)
            means[i] = K.mean(0)
            units[i] = centre(K, float(np.finfo(X.dtype).eps)) or 1.0
            kernels[i] = K / units[i]
            centrings.append(centring)
        self._choose(kernels, y, groups, parts, priors, alphas)
        self.weights_ = self._learn(kernels, y, groups, self.prior_, alphas)
        spectrum = Spectrum.of_gram(_sum(kernels, self.weights_), _EPS)
        dual = spectrum.dual(y - y.mean(0), self.alpha_)
        each = self.weights_ / units
        self.intercept_ = y.mean(0) - (each @ means) @ dual
        self.experts_ = tuple(
            Expert.of(X, centring, weight * dual)
            for centring, weight in zip(centrings, each, strict=True)
            if weight > 0
        )

    def _choose(
        self,
        kernels: Array,
        y: Array,
        groups: Array,
        parts: Array,
        priors: list[float],
        alphas: tuple[float, ...],
    ) -> None:
        """Cost and penalty, by groups unseen by the weights."""
        squares = np.zeros((len(priors), len(alphas), y.shape[1]))
        null = np.zeros(y.shape[1])
        for part in np.unique(parts):
            train, rest = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
            null += np.square(y[rest] - y[train].mean(0)).sum(0)
            for i, prior in enumerate(priors):
                inside = (
                    kernels[:, train[:, None], train] if np.isfinite(prior) else kernels
                )
                weights = self._learn(inside, y[train], groups[train], prior, alphas)
                K = _sum(kernels, weights)
                found = unseen_by(K, y, train, rest, alphas, _EPS)
                for j, errors in enumerate(found):
                    squares[i, j] += np.square(errors).sum(0)
        self.alphas_, self.path_ = np.array(alphas), explained(squares, null, y)
        mean = self.path_.mean(2)
        at = int(np.argmax(mean.max(1)))
        self.prior_, self.alpha_ = priors[at], best(alphas, mean[at])

    def _learn(
        self,
        kernels: Array,
        y: Array,
        groups: Array,
        prior: float,
        alphas: tuple[float, ...],
    ) -> Array:
        """Weights of the layers, with sum 1."""
        uniform = np.full(len(kernels), 1 / len(kernels))
        if np.isinf(prior) or len(kernels) == 1:
            return uniform
        scores = path(Spectrum.of_gram(_sum(kernels, uniform), _EPS), y, groups, alphas)
        start = uniform / best(alphas, scores.mean(1))
        found = learnt(kernels, y, groups, start, steps=self.steps, prior=prior)
        found[found < _GONE * found.max()] = 0
        weights: Array = found / found.sum()
        return weights

    def _scores(self, X: Array) -> Array:
        found: Array = sum((e.scores(X) for e in self.experts_), start=self.intercept_)
        return found

    @property
    def _cut(self) -> float:
        return 0.5 if self.task == "classification" else 0.0


def _sum(kernels: Array, weights: Array) -> Array:
    flat = kernels.reshape(len(kernels), -1)
    K: Array = (weights.astype(np.float32) @ flat).reshape(kernels.shape[1:])
    return K.astype(np.float64)
