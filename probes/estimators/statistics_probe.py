"""Probe on statistics of weights, for networks of any width and depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from sklearn.base import clone
from sklearn.utils import Tags

from catalog import Layout
from catalog.dtypes import Array
from probes.exact.ridge import Spectrum, best, check_alphas, path
from probes.layers import chosen_layers
from probes.probe import Probe, fitted_attributes
from probes.statistics.boosting import Boosting
from probes.statistics.shaping import Shape, Shaping
from probes.statistics.smooth import Smooth
from probes.statistics.weight_statistics import WeightStatistics
from probes.statistics.within import Within

Model = Literal["smooth", "ridge", "boosting"]
MODELS = get_args(Model)


@dataclass(eq=False, repr=False)
class StatisticsProbe(Probe):
    """Regression on statistics of each tensor, which do not depend on the order of units.

    Parameters
    ----------
    task, layout, layer
        See `Probe`. Without ``layer``, vectors are read too.
    model : {"smooth", "ridge", "boosting"}, default="smooth"
        "smooth": exact ridge regression with a Gaussian kernel. "ridge": exact ridge
        regression on the statistics, the linear baseline of [1]_. "boosting": boosted
        trees by LightGBM, as in [1]_ (install ``phasezoo[boosting]``). Penalty and kernel
        width, or numbers of leaves and trees, are chosen on held-out groups.
    shape : {"quantile", "standard"}, default="quantile"
        Scaling of the statistics for "smooth" and "ridge": normal scores among the training
        networks, or unit standard deviation.
    spectrum, aggregate : bool
        See `WeightStatistics`.
    described : bool, default=False
        True if X already holds statistics (n, p), for example of networks with several
        layouts.
    relative : {"quantile", "standard"}, optional
        Compare statistics within each zoo, see `Within`. The first column of X then holds
        the number of the zoo, as `probes.statistics.within.numbered` returns it.
    alphas : sequence of float, optional
        Penalties to choose from. Default: `probes.exact.ridge.ALPHAS`.
    random_state : int, default=0
        Seed of folds and trees, and beyond 2,000 networks of the centres of the kernel.

    Attributes
    ----------
    within_ : Within
        Comparison within zoos; only if ``relative``.
    shaping_ : Shaping
        Scaling of the statistics.
    smooth_, boosting_ : Smooth, Boosting
        Fitted model; only for the ``model`` of the same name.
    coef_ : ndarray of shape (p, width)
        Coefficients of "ridge", in target units per unit of a scaled statistic; with
        ``intercept_``.
    alpha_ : float
        Chosen penalty of "smooth" and "ridge".

    Raises
    ------
    ValueError
        If there is only one group, if there is no such model or shape, or if ``relative``
        is set without ``described``.

    References
    ----------
    .. [1] Unterthiner et al. 2020, arXiv:2002.11448. Differences: statistics include
       singular values, they are converted to normal scores, and the default model is a
       kernel regression.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(60, 20)) * np.arange(1, 61)[:, None]
    >>> StatisticsProbe().fit(X, np.arange(60)).score(X, np.arange(60)) > 0.9
    True
    """

    name: ClassVar[str] = "statistics"
    summary: ClassVar[str] = "regression on moments and spectra of tensors, any layouts"

    model: Model = "smooth"
    shape: Shape = "quantile"
    spectrum: bool = True
    aggregate: bool = False
    described: bool = False
    relative: Shape | None = None
    alphas: Sequence[float] | None = None
    random_state: int = 0

    def statistics(self, X: Array) -> Array:
        """Compute the statistics (n, p) of weights (n, d)."""
        if self.described:
            return np.asarray(X, np.float64)
        reader = WeightStatistics(self.layout, self.layer, self.spectrum, self.aggregate)
        statistics: Array = reader.fit(X).transform(X)
        return statistics

    def reading(self, layout: Layout, aggregate: bool) -> StatisticsProbe:
        """Return this fit to statistics as a probe that reads weights of one layout."""
        probe: StatisticsProbe = clone(self)
        probe.set_params(described=False, layout=layout, aggregate=aggregate)
        for key, value in fitted_attributes(self).items():
            setattr(probe, key, value)
        probe.n_features_in_ = layout.d
        probe.layers_ = chosen_layers(layout, self.layer, layout.d)
        return probe

    def check(self) -> None:
        """Check the parameters without the weights; raise `ValueError` if invalid."""
        super().check()
        if self.model not in MODELS:
            raise ValueError(f"The model must be one of {MODELS}. Got {self.model!r}.")
        check_alphas(self.alphas)

    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        alphas = check_alphas(self.alphas)
        F = self.statistics(X)
        if self.relative is not None:
            if not self.described:
                raise ValueError(
                    "relative compares statistics within zoos: it needs described=True "
                    "and an X that probes.statistics.within.numbered returned."
                )
            self.within_ = Within.of(F[:, 1:], F[:, 0], self.relative)
            F = self.within_.apply(F[:, 1:], F[:, 0])
        self.shaping_ = Shaping.of(F, self.shape)
        if self.model == "boosting":
            labels = self.task == "classification"
            self.boosting_ = Boosting.of(F, y, groups, labels, self.random_state)
            return
        A = self.shaping_.apply(F)
        if self.model == "smooth":
            self.smooth_ = Smooth.of(A, y, groups, alphas, self.random_state)
            self.alpha_ = self.smooth_.alpha
            return
        wide = A.shape[1] >= len(A)
        spectrum = Spectrum.of_gram(A @ A.T) if wide else Spectrum.of_features(A.copy())
        self.alpha_ = best(alphas, path(spectrum, y, groups, alphas).mean(1))
        self.coef_ = (A - A.mean(0)).T @ spectrum.dual(y - y.mean(0), self.alpha_)
        self.intercept_ = y.mean(0) - A.mean(0) @ self.coef_

    def _scores(self, X: Array) -> Array:
        F = self.statistics(X)
        if self.relative is not None:
            F = self.within_.apply(F[:, 1:], F[:, 0])
        if self.model == "boosting":
            return self.boosting_.scores(F)
        A = self.shaping_.apply(F)
        if self.model == "smooth":
            return self.smooth_.scores(A)
        scores: Array = A @ self.coef_ + self.intercept_
        return scores

    @property
    def _cut(self) -> float:
        return 0.5 if self.task == "classification" and self.model != "boosting" else 0.0

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if not self.described:  # statistics do not show the effect of single weights
            for estimator_tags in (tags.regressor_tags, tags.classifier_tags):
                if estimator_tags is not None:
                    estimator_tags.poor_score = True
        return tags
