"""Base class of probes: parameters, fitting and prediction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils._tags import ClassifierTags, RegressorTags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from catalog import Layout
from catalog.dtypes import Array
from probes.layers import Layer, chosen_layers
from probes.targets import TASKS, Targets


def _classifies(probe: Probe) -> bool:
    return probe.task == "classification"


@dataclass(eq=False, repr=False)
class Probe(BaseEstimator):
    """Base class of estimators that read weights; subclasses add parameters.

    Parameters
    ----------
    task : {"regression", "classification"}, default="regression"
        Kind of target. For classification, y is (n,) with classes, or (n, k) with k labels
        of 0 and 1.
    layout : Layout, optional
        Names and shapes of the tensors in the columns of X. Default: one row of d values.
    layer : str or sequence of str, optional
        Names of the tensors to read; for a low-rank update the name that both factors
        share. Default: all matrices.

    Attributes
    ----------
    targets_ : Targets
        Kind and encoding of the targets.
    classes_ : ndarray
        Classes, sorted; only for classification.
    layers_ : tuple of Layer
        Layers that the probe reads.
    n_features_in_ : int
        Number d of weights of a network.
    """

    name: ClassVar[str]
    """Name on the command line and in the catalogue."""
    summary: ClassVar[str]
    """One-line description for `phasezoo probe --list`."""

    task: str = "regression"
    layout: Layout | None = None
    layer: str | Sequence[str] | None = None

    def check(self) -> None:
        """Check the parameters without the weights; `fit` calls this method too.

        Raises
        ------
        ValueError
            If a parameter is invalid; the message says what it must be.
        """
        if self.task not in TASKS:
            raise ValueError(
                f"The task of {type(self).__name__} must be one of {TASKS}. Got "
                f"{self.task!r}."
            )

    def fit(self, X: Array, y: Array, groups: Array | None = None) -> Self:
        """Fit the probe to predict y (n,) or (n, k) from weights X (n, d).

        Parameters
        ----------
        groups : ndarray of shape (n,), optional
            Group of each row, such as the run of a checkpoint. Hyperparameters are chosen
            by the error on groups that were held out. Default: each row is its own group.

        Raises
        ------
        ValueError
            If values are not finite, lengths differ, or there is only one class.
        LayoutMismatch
            If the layout does not match the columns of X.
        """
        self.check()
        regression = self.task == "regression"
        X, y = validate_data(
            self, X, y, dtype=(np.float32, np.float64), multi_output=True,
            y_numeric=regression, ensure_min_samples=2,
        )  # fmt: skip
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 and not regression else y
        if groups is not None and len(groups) != len(X):
            raise ValueError(f"groups has {len(groups)} rows and X has {len(X)}.")
        self.targets_ = Targets.of(y, self.task)
        if self.targets_.kind == "multilabel":
            self.classes_ = np.array([0, 1])  # of every label
        elif self.targets_.classes is not None:
            self.classes_ = self.targets_.classes
        self.layers_: tuple[Layer, ...] = chosen_layers(self.layout, self.layer, X.shape[1])
        _, groups = np.unique(
            np.arange(len(X)) if groups is None else groups, return_inverse=True
        )
        self._fit(X, self.targets_.encode(y), groups)
        return self

    def predict(self, X: Array) -> Array:
        """Predict values, classes or labels from weights X (n, d)."""
        scores, cut = self._decided(X)
        return self.targets_.decide(scores, cut)

    @available_if(_classifies)  # type: ignore[untyped-decorator]  # sklearn's
    def decision_function(self, X: Array) -> Array:
        """Return scores (n,) or (n, width); a label or the second class is positive."""
        scores, cut = self._decided(X)
        return scores[:, 0] - cut if self.targets_.kind == "binary" else scores - cut

    def score(self, X: Array, y: Array) -> float:
        """Return R2 or accuracy of the predictions; see `Targets.score`."""
        predicted = self.predict(X)
        return self.targets_.score(np.asarray(y), predicted)

    @abstractmethod
    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        """Fit encoded targets (n, width); groups (n,) are numbered 0, 1, ..."""

    @abstractmethod
    def _scores(self, X: Array) -> Array:
        """Return scores (n, width) of checked weights."""

    @property
    def _cut(self) -> float:
        """Score above which a label is predicted."""
        return 0.0

    def _decided(self, X: Array) -> tuple[Array, float]:
        return self._scores(self._checked(X)), self._cut

    def _checked(self, X: Array) -> Array:
        check_is_fitted(self, "targets_")
        checked: Array = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        return checked

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        if self.task == "regression":
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        else:
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags(multi_label=True)
        return tags


def fitted_attributes(probe: BaseEstimator) -> dict[str, Any]:
    """Return the fitted attributes, whose names end with an underscore."""
    return {
        name: value
        for name, value in vars(probe).items()
        if name.endswith("_") and not name.startswith("_")
    }
