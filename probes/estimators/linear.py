"""The exact linear expert: ridge regression on weights, solved in the space of networks."""

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
    """Ridge regression on the weights of one layer, or of several side by side.

    The hypotheses of the dense expert of [1]_, which is trained there by gradient descent;
    here one Gram matrix and one eigendecomposition give the exact fit for every penalty and
    all targets at once, and the error on held-out groups in closed form, from which the
    penalty is chosen. Classes are fitted as 0 and 1 and hold from 0.5.

    Memory beyond X: one block of 32 MiB, some float64 matrices of n x n (with fewer weights
    than networks: n x d), and the result.

    Parameters
    ----------
    task, layout, layer
        See `Probe`. Several layers are one long vector, each scaled for itself.
    root : {"mean"}, ndarray of shape (d,) or None, default="mean"
        What is subtracted first: the mean of the training networks, or their base model.
        As the intercept is not penalised it matters with ``scale="sample"`` only.
    scale : {"global", "sample"} or None, default="global"
        Whether a layer is divided by its root mean square over all networks, or by that of
        each network, or not. With one layer, "global" and None are the same fit.
    alphas : sequence of float, optional
        Penalties to choose from, in units of the mean squared norm of a centred network
        (`unit_`), so that the default suits any layer. Default: 31 from 1e-6 to 1e6.
    alpha_per_target : bool, default=False
        Choose a penalty for every target instead of one for all.
    calibrated : bool, default=False
        Turn scores of classes into logits by logistic regression on `held_out_`: a class
        then holds from probability 0.5, and there is `predict_proba`.

    Attributes
    ----------
    alpha_ : float or ndarray of shape (width,)
        Chosen for the highest R2 on held-out groups, of equal ones the largest;
        ``alpha_ * unit_`` is the ``alpha`` of `sklearn.linear_model.Ridge` on centred and
        scaled weights.
    alphas_ : ndarray of shape (k,)
    path_ : ndarray of shape (k, width)
        R2 on held-out groups, against the mean of the other groups, which has 0.
    held_out_ : ndarray of shape (n, width)
        What the fit with `alpha_` without its group predicts for each training network.
        As `alpha_` saw all of them, their score is a little optimistic.
    held_out_score_ : float
        `score` of them.
    factor_, offset_ : ndarray of shape (width,)
        Of logits, if ``calibrated``.
    intercept_ : ndarray of shape (width,)
    experts_ : tuple of Expert
        One for each layer.
    unit_ : float

    Raises
    ------
    ValueError
        If there is one group, or an alpha is not above 0.

    Notes
    -----
    A layer that is the same in all networks carries nothing; where no layer differs the
    prediction is the mean. With ``scale="sample"`` the mean that is subtracted has seen the
    held-out weights (not their targets).

    References
    ----------
    .. [1] Kahana et al. 2024, arXiv:2410.13569. Differs: exact, penalised, no root.

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
        """Refuse parameters that cannot be, whatever the weights are."""
        super().check()
        check_alphas(self.alphas)

    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        alphas = check_alphas(self.alphas)
        spectrum, centrings, mean = spectrum_of(X, self.layers_, self.root, self.scale)
        self.alphas_, self.unit_ = np.array(alphas), spectrum.unit
        self.path_ = path(spectrum, y, groups, alphas)
        if self.alpha_per_target:
            each = np.array([best(alphas, scores) for scores in self.path_.T])
            self.alpha_: float | Array = each
        else:
            self.alpha_ = best(alphas, self.path_.mean(1))
            each = np.full(y.shape[1], self.alpha_)
        self.held_out_ = y.copy()
        for alpha in np.unique(each):
            same = each == alpha
            self.held_out_[:, same] -= held_out_errors(spectrum, y[:, same], groups, alpha)
        if self.calibrated:
            self._calibrate(y)
        held = self.targets_.decide(self._judged(self.held_out_), self._cut)
        truth = self.targets_.decide(y, 0.5)
        self.held_out_score_ = self.targets_.score(truth, held)
        dual = spectrum.dual(y - y.mean(0), each)
        self.intercept_ = y.mean(0) - mean @ dual
        self.experts_ = tuple(Expert.of(X, centring, dual) for centring in centrings)

    @available_if(_calibrated)  # type: ignore[untyped-decorator]  # sklearn's
    def predict_proba(self, X: Array) -> Array:
        """Probabilities (n, classes), or (n, k) of each label; with ``calibrated=True``."""
        logits, _ = self._decided(X)
        found = probabilities(logits, exclusive=self.targets_.kind == "multiclass")
        return np.hstack([1 - found, found]) if self.targets_.kind == "binary" else found

    def _scores(self, X: Array) -> Array:
        values = sum((e.scores(X) for e in self.experts_), start=self.intercept_)
        return self._judged(values)

    def _calibrate(self, y: Array) -> None:
        if self.task != "classification":
            raise ValueError("Only a classification is calibrated: calibrated=False.")
        exclusive = self.targets_.kind == "multiclass"
        self.factor_, self.offset_ = score_calibration(
            self.held_out_, y, exclusive=exclusive
        )

    def _judged(self, values: Array) -> Array:
        return self.factor_ * values + self.offset_ if self.calibrated else values

    @property
    def _cut(self) -> float:
        return 0.5 if self.task == "classification" and not self.calibrated else 0.0

    @property
    def coef_(self) -> Array:
        """Weights (width, dH, dW) of the one layer, or (width, values) of all layers.

        In target units per unit of centred and scaled weights; low-rank updates are formed.
        """
        found = [expert.coefficients for expert in self.experts_]
        if self.layout is not None and len(found) == 1:
            return found[0]
        return np.concatenate(
            [matrices.reshape(len(matrices), -1) for matrices in found], 1
        )
