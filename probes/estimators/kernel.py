"""Ridge regression on several layers, with one kernel and one learnt weight per layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from probes.exact.centring import Root, Scale
from probes.exact.dealing import check_folds, deal
from probes.exact.expert import Expert
from probes.exact.features import explained, unseen_by
from probes.exact.gram import gram
from probes.exact.layer_weights import learnt
from probes.exact.ridge import Spectrum, best, centre, check_alphas, path
from probes.probe import Probe

PRIORS = (np.inf, 0.1, 0.01)
_NEGLIGIBLE = 1e-3
_EPS = float(np.finfo(np.float32).eps)


@dataclass(eq=False, repr=False)
class KernelProbe(Probe):
    """Ridge regression on several layers, each weighted by its benefit on held-out groups.

    Every layer has a Gram matrix, scaled to the same mean diagonal. The weights of the
    layers minimise the error on held-out groups in closed form; the cost of unequal weights
    and the penalty are chosen on groups that had no part in fitting the weights. Layers
    with a weight below a thousandth of the largest are dropped. Products of low-rank
    updates are not formed where their rank makes the factors cheaper.

    Memory beyond X: n x n float32 for every layer, twice (1,000 networks and 74 layers:
    600 MB), some float64 matrices of n x n, and the matrices of the fit (width x d, or for
    low-rank updates the factors of the training networks).

    Parameters
    ----------
    task, layout, layer
        See `Probe`.
    root, scale, alphas
        See `LinearProbe`.
    priors : sequence of float, default=(inf, 0.1, 0.01)
        Candidate costs of unequal weights: a layer whose weight is e times the geometric
        mean adds this share of the variance, divided by the number of layers. With
        infinity all layers have the same weight.
    folds : int, default=5
        Number of folds of groups on which cost and penalty are chosen.
    steps : int, default=50
        Maximum number of quasi-Newton steps for the weights.
    random_state : int, default=0
        Seed for the assignment of groups to folds.

    Attributes
    ----------
    weights_ : ndarray of shape (layers,)
        Weights of the layers: not negative, with sum 1; 0 for dropped layers.
    prior_, alpha_ : float
        Cost and penalty with the highest mean R2; the penalty is in units of the mean
        diagonal of the kernel.
    path_ : ndarray of shape (len(priors), len(alphas_), width); with one layer (1, ...)
        R2 on held-out groups, with weights that were fitted without the held-out groups.
    alphas_ : ndarray
        Penalties that were tried.
    experts_ : tuple of Expert
        One expert for each layer with a weight above 0.
    intercept_ : ndarray of shape (width,)
        Intercept of each target.

    Raises
    ------
    ValueError
        If there are fewer than 3 groups, or a prior is not above 0.

    Notes
    -----
    ProbeX (arXiv:2410.13569) reads a single layer.
    """

    name: ClassVar[str] = "kernel"
    summary: ClassVar[str] = (
        "exact ridge on all layers, weighted by error on held-out groups"
    )

    root: Root = "mean"
    scale: Scale = "global"
    alphas: Sequence[float] | None = None
    priors: Sequence[float] = PRIORS
    folds: int = 5
    steps: int = 50
    random_state: int = 0

    def check(self) -> None:
        """Check the parameters without the weights; raise `ValueError` if invalid."""
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
            priors = priors[:1]  # with one layer every prior gives the same fit
        fold_of = deal(groups, self.folds, self.random_state)
        kernels = np.empty((len(self.layers_), n, n), np.float32)
        means = np.empty((len(self.layers_), n))
        centrings, units = [], np.ones(len(self.layers_))
        for i, layer in enumerate(self.layers_):
            K, centring = gram(X, layer, self.root, self.scale)
            means[i] = K.mean(0)
            units[i] = centre(K, float(np.finfo(X.dtype).eps)) or 1.0
            kernels[i] = K / units[i]
            centrings.append(centring)
        self._choose(kernels, y, groups, fold_of, priors, alphas)
        self.weights_ = self._learn(kernels, y, groups, self.prior_, alphas)
        spectrum = Spectrum.of_gram(_sum(kernels, self.weights_), _EPS)
        dual = spectrum.dual(y - y.mean(0), self.alpha_)
        layer_factors = self.weights_ / units
        self.intercept_ = y.mean(0) - (layer_factors @ means) @ dual
        self.experts_ = tuple(
            Expert.of(X, centring, weight * dual)
            for centring, weight in zip(centrings, layer_factors, strict=True)
            if weight > 0
        )

    def _choose(
        self,
        kernels: Array,
        y: Array,
        groups: Array,
        fold_of: Array,
        priors: list[float],
        alphas: tuple[float, ...],
    ) -> None:
        """Choose cost and penalty on groups that had no part in fitting the weights."""
        squares = np.zeros((len(priors), len(alphas), y.shape[1]))
        null = np.zeros(y.shape[1])
        for fold in np.unique(fold_of):
            train, rest = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
            null += np.square(y[rest] - y[train].mean(0)).sum(0)
            for i, prior in enumerate(priors):
                inner_kernels = (
                    kernels[:, train[:, None], train] if np.isfinite(prior) else kernels
                )
                weights = self._learn(inner_kernels, y[train], groups[train], prior, alphas)
                K = _sum(kernels, weights)
                fold_errors = unseen_by(K, y, train, rest, alphas, _EPS)
                for j, errors in enumerate(fold_errors):
                    squares[i, j] += np.square(errors).sum(0)
        self.alphas_, self.path_ = np.array(alphas), explained(squares, null, y)
        mean = self.path_.mean(2)
        best_prior = int(np.argmax(mean.max(1)))
        self.prior_, self.alpha_ = priors[best_prior], best(alphas, mean[best_prior])

    def _learn(
        self,
        kernels: Array,
        y: Array,
        groups: Array,
        prior: float,
        alphas: tuple[float, ...],
    ) -> Array:
        """Fit the weights of the layers; their sum is 1."""
        uniform = np.full(len(kernels), 1 / len(kernels))
        if np.isinf(prior) or len(kernels) == 1:
            return uniform
        scores = path(Spectrum.of_gram(_sum(kernels, uniform), _EPS), y, groups, alphas)
        start = uniform / best(alphas, scores.mean(1))
        weights: Array = learnt(kernels, y, groups, start, steps=self.steps, prior=prior)
        weights[weights < _NEGLIGIBLE * weights.max()] = 0
        return weights / weights.sum()

    def _scores(self, X: Array) -> Array:
        scores: Array = sum((e.scores(X) for e in self.experts_), start=self.intercept_)
        return scores

    @property
    def _cut(self) -> float:
        return 0.5 if self.task == "classification" else 0.0


def _sum(kernels: Array, weights: Array) -> Array:
    flat = kernels.reshape(len(kernels), -1)
    K: Array = (weights.astype(np.float32) @ flat).reshape(kernels.shape[1:])
    return K.astype(np.float64)
