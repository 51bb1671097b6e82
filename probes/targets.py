"""Encoding of targets as numbers: values, one class, or several labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils.multiclass import check_classification_targets

from catalog.dtypes import Array

Task = Literal["regression", "classification"]
TASKS = ("regression", "classification")


@dataclass(frozen=True)
class Targets:
    """Encoder of targets as numbers, and decoder of scores.

    Attributes
    ----------
    kind : {"regression", "binary", "multiclass", "multilabel"}
        Kind of target. "multilabel" has several columns of 0 and 1; any number of them
        may be 1 in a row.
    width : int
        Number of columns that `encode` returns: targets, labels, or classes (1 if there
        are two classes).
    classes : ndarray or None
        Class of each column, sorted.
    flat : bool
        True if the targets were passed as (n,).
    """

    kind: str
    width: int
    classes: Array | None = None
    flat: bool = True

    @classmethod
    def of(cls, y: Array, task: str) -> Targets:
        """Determine the kind of targets from their values.

        Parameters
        ----------
        y : ndarray of shape (n,) or (n, k)
            Targets of n networks.
        task : {"regression", "classification"}
            For classification, a y of two axes holds labels 0 or 1.

        Raises
        ------
        ValueError
            If there is only one class, or labels are not 0 and 1.
        """
        if task not in TASKS:
            raise ValueError(f"The task must be one of {TASKS}. Got {task!r}.")
        if task == "regression":
            return cls("regression", 1 if y.ndim == 1 else y.shape[1], flat=y.ndim == 1)
        if y.ndim == 2:
            invalid = np.setdiff1d(y, (0, 1))
            if len(invalid):
                raise ValueError(
                    "Several columns of a classification are labels, each 0 or 1. Got "
                    f"{invalid[:3].tolist()}. For one of many classes pass y of shape (n,)."
                )
            return cls("multilabel", y.shape[1], flat=False)
        check_classification_targets(y)
        classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError(
                f"All {len(y)} networks have one class, {classes[0]!r}; a classifier needs "
                "2 classes or more."
            )
        kind = "binary" if len(classes) == 2 else "multiclass"
        return cls(kind, 1 if kind == "binary" else len(classes), classes)

    def encode(self, y: Array) -> Array:
        """Return targets (n, width) in float64: values, or 0 and 1."""
        if self.classes is None:
            return y.astype(np.float64).reshape(len(y), self.width)
        if self.kind == "binary":
            return (y == self.classes[1]).astype(np.float64)[:, None]
        return (y[:, None] == self.classes).astype(np.float64)

    def decide(self, scores: Array, cut: float = 0.0) -> Array:
        """Convert scores (n, width) into values, classes or labels.

        Parameters
        ----------
        cut : float, default=0
            Score above which a label is predicted: 0 for logits, 0.5 for values fitted
            to 0 and 1.
        """
        if self.kind == "regression":
            return scores[:, 0] if self.flat else scores
        if self.classes is None:
            return (scores > cut).astype(np.int64)
        if self.kind == "binary":
            return self.classes[(scores[:, 0] > cut).astype(np.int64)]
        return self.classes[scores.argmax(1)]

    def score(self, y: Array, predicted: Array) -> float:
        """Return R2 of values, or accuracy of classes, or mean accuracy over labels [1]_.

        References
        ----------
        .. [1] Kahana et al. 2024, arXiv:2410.13569, for training classes, where chance
           level is 0.5.
        """
        if self.kind == "regression":
            return float(r2_score(y, predicted))
        return float((np.asarray(y) == predicted).mean())
