"""What all probes share: what they read, what they predict, and how they are kept."""

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
    """An estimator that reads weights; subclasses add their parameters.

    Parameters
    ----------
    task : {"regression", "classification"}, default="regression"
        y of a classification is (n,) with classes, or (n, k) with k labels of 0 and 1.
    layout : Layout, optional
        What the columns of X mean. Default: one row of d values.
    layer : str or sequence of str, optional
        Tensors to read; of low-rank updates what the names of both factors share.
        Default: all matrices.

    Attributes
    ----------
    targets_ : Targets
    classes_ : ndarray
        Only of a classification.
    layers_ : tuple of Layer
    n_features_in_ : int
    """

    name: ClassVar[str]
    """On the command line and in the catalogue."""
    summary: ClassVar[str]
    """One line for `phasezoo probe --list`."""

    task: str = "regression"
    layout: Layout | None = None
    layer: str | Sequence[str] | None = None

    def check(self) -> None:
        """Refuse parameters that cannot be, whatever the weights are; `fit` does it too.

        Raises
        ------
        ValueError
            Saying what a parameter must be.
        """
        if self.task not in TASKS:
            raise ValueError(
                f"The task of {type(self).__name__} must be one of {TASKS}. Got "
                f"{self.task!r}."
            )

    def fit(self, X: Array, y: Array, groups: Array | None = None) -> Self:
        """Learn y (n,) or (n, k) from weights X (n, d).

        Parameters
        ----------
        groups : ndarray of shape (n,), optional
            Rows that belong together, such as checkpoints of one run: what is chosen
            inside is chosen on rows of other groups. Default: each row for itself.

        Raises
        ------
        ValueError
            If values are not finite, lengths differ, or there is one class.
        LayoutMismatch
            If the layout does not fit X.
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
        """Values, classes or labels of weights X (n, d)."""
        scores, cut = self._decided(X)
        return self.targets_.decide(scores, cut)

    @available_if(_classifies)  # type: ignore[untyped-decorator]  # sklearn's
    def decision_function(self, X: Array) -> Array:
        """Scores from which a label or the second class holds at 0: (n,) or (n, width)."""
        scores, cut = self._decided(X)
        return scores[:, 0] - cut if self.targets_.kind == "binary" else scores - cut

    def score(self, X: Array, y: Array) -> float:
        """See `Targets.score`: R2, or accuracy."""
        predicted = self.predict(X)
        return self.targets_.score(np.asarray(y), predicted)

    @abstractmethod
    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        """Learn encoded targets (n, width); groups (n,) are 0, 1, ..."""

    @abstractmethod
    def _scores(self, X: Array) -> Array:
        """Scores (n, width) of checked weights."""

    @property
    def _cut(self) -> float:
        """Score from which a label holds."""
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
    """What fitting left: attributes that end with one underscore."""
    return {
        name: value
        for name, value in vars(probe).items()
        if name.endswith("_") and not name.startswith("_")
    }
