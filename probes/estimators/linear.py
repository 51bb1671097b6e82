"""Exact linear expert: ridge regression on weights, solved in the space of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.utils.metaestimators import available_if

from catalog.dtypes import Array
from probes.exact.calibration import probabilities, score_calibration
from probes.exact.centring import Root, Scale
from probes.exact.expert import Expert
from probes.exact.ridge import best, check_alphas, held_out_errors, path
from probes.exact.spectrum import spectrum_of
from probes.probe import Probe


def _calibrated(probe: LinearProbe) -> bool:
    return probe.calibrated and probe.task == "classification"


@dataclass(eq=False, repr=False)
class LinearProbe(Probe):
    """Ridge regression on the weights of one layer, or of several layers side by side.

    The model is the dense expert of [1]_, which is trained there by gradient descent. Here
    one Gram matrix and one eigendecomposition give the exact fit for every penalty and all
    targets at once. They also give the error on held-out groups in closed form, by which
    the penalty is chosen. Classes are fitted as 0 and 1 and hold above 0.5.

    Memory beyond X: one block of 32 MiB, some float64 matrices of n x n (with fewer weights
    than networks: n x d), and the result.

    Parameters
    ----------
    task, layout, layer
        See `Probe`. Several layers are joined to one long vector, after each is scaled
        separately.
    root : {"mean"}, ndarray of shape (d,) or None, default="mean"
        Weights to subtract first: the mean of the training networks, or their base model.
        As the intercept is not penalised, the root matters only with ``scale="sample"``.
    scale : {"global", "sample"} or None, default="global"
        Divisor of a layer: its root mean square over all networks ("global") or over each
        network ("sample"), or none. With one layer, "global" and None give the same fit.
    alphas : sequence of float, optional
        Penalties to choose from, in units of the mean squared norm of a centred network
        (`unit_`), so that the default suits any layer. Default: 31 values from 1e-6 to 1e6.
    alpha_per_target : bool, default=False
        Choose a penalty for every target instead of one for all targets.
    calibrated : bool, default=False
        Convert scores of classes to logits by logistic regression on `held_out_`. A class
        is then predicted above probability 0.5, and `predict_proba` is available.

    Attributes
    ----------
    alpha_ : float or ndarray of shape (width,)
        Penalty with the highest R2 on held-out groups; of equal ones the largest.
        ``alpha_ * unit_`` is the ``alpha`` of `sklearn.linear_model.Ridge` on centred and
        scaled weights.
    alphas_ : ndarray of shape (k,)
        Penalties that were tried.
    path_ : ndarray of shape (k, width)
        R2 on held-out groups. The mean of the other groups is the baseline with R2 = 0.
    held_out_ : ndarray of shape (n, width)
        Prediction for each training network by the fit with `alpha_` without the group of
        the network. As `alpha_` was chosen on all networks, the score of these predictions
        is slightly optimistic.
    held_out_score_ : float
        `score` of `held_out_`.
    factor_, offset_ : ndarray of shape (width,)
        Factor and offset that convert scores to logits, if ``calibrated``.
    intercept_ : ndarray of shape (width,)
        Intercept of each target.
    experts_ : tuple of Expert
        One expert for each layer.
    unit_ : float
        Mean squared norm of a centred network.

    Raises
    ------
    ValueError
        If there is only one group, or an alpha is not above 0.

    Notes
    -----
    A layer that is the same in all networks carries no information; if no layer differs,
    the prediction is the mean. With ``scale="sample"`` the mean that is subtracted includes
    the held-out weights (not their targets).

    References
    ----------
    .. [1] Kahana et al. 2024, arXiv:2410.13569. Differences: the fit is exact and
       penalised, and the root is subtracted.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(40, 100))
    >>> probe = LinearProbe().fit(X, X[:, 0])
    >>> probe.predict(X[:2]).shape, probe.coef_.shape
    ((2,), (1, 100))
    """

    name: ClassVar[str] = "linear"
    summary: ClassVar[str] = "exact ridge regression on weights, penalty by held-out groups"

    root: Root = "mean"
    scale: Scale = "global"
    alphas: Sequence[float] | None = None
    alpha_per_target: bool = False
    calibrated: bool = False

    def check(self) -> None:
        """Check the parameters without the weights; raise `ValueError` if invalid."""
        super().check()
        check_alphas(self.alphas)

    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        alphas = check_alphas(self.alphas)
        spectrum, centrings, mean = spectrum_of(X, self.layers_, self.root, self.scale)
        self.alphas_, self.unit_ = np.array(alphas), spectrum.unit
        self.path_ = path(spectrum, y, groups, alphas)
        if self.alpha_per_target:
            alpha_of = np.array([best(alphas, scores) for scores in self.path_.T])
            self.alpha_: float | Array = alpha_of
        else:
            self.alpha_ = best(alphas, self.path_.mean(1))
            alpha_of = np.full(y.shape[1], self.alpha_)
        self.held_out_ = y.copy()
        for alpha in np.unique(alpha_of):
            columns = alpha_of == alpha
            self.held_out_[:, columns] -= held_out_errors(
                spectrum, y[:, columns], groups, alpha
            )
        if self.calibrated:
            self._calibrate(y)
        held_out = self.targets_.decide(self._calibrated_scores(self.held_out_), self._cut)
        truth = self.targets_.decide(y, 0.5)
        self.held_out_score_ = self.targets_.score(truth, held_out)
        dual = spectrum.dual(y - y.mean(0), alpha_of)
        self.intercept_ = y.mean(0) - mean @ dual
        self.experts_ = tuple(Expert.of(X, centring, dual) for centring in centrings)

    @available_if(_calibrated)  # type: ignore[untyped-decorator]  # sklearn's
    def predict_proba(self, X: Array) -> Array:
        """Return probabilities (n, classes) or (n, labels), if ``calibrated``."""
        logits, _ = self._decided(X)
        columns = probabilities(logits, exclusive=self.targets_.kind == "multiclass")
        return (
            np.hstack([1 - columns, columns]) if self.targets_.kind == "binary" else columns
        )

    def _scores(self, X: Array) -> Array:
        values = sum((e.scores(X) for e in self.experts_), start=self.intercept_)
        return self._calibrated_scores(values)

    def _calibrate(self, y: Array) -> None:
        if self.task != "classification":
            raise ValueError(
                "calibrated=True needs a classification: pass calibrated=False, or "
                "task='classification'."
            )
        exclusive = self.targets_.kind == "multiclass"
        self.factor_, self.offset_ = score_calibration(
            self.held_out_, y, exclusive=exclusive
        )

    def _calibrated_scores(self, values: Array) -> Array:
        return self.factor_ * values + self.offset_ if self.calibrated else values

    @property
    def _cut(self) -> float:
        return 0.5 if self.task == "classification" and not self.calibrated else 0.0

    @property
    def coef_(self) -> Array:
        """Coefficients (width, dH, dW) of a single layer, or (width, values) of all layers.

        They are in target units per unit of centred and scaled weights. Low-rank updates
        are formed.
        """
        coefficients = [expert.coefficients for expert in self.experts_]
        if self.layout is not None and len(coefficients) == 1:
            return coefficients[0]
        return np.concatenate(
            [matrices.reshape(len(matrices), -1) for matrices in coefficients], 1
        )
