"""The last layer refit in closed form: ridge regression of the classes on its features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from catalog import CatalogError
from catalog.dtypes import Array
from generators.calibration.calibration import Calibration, Learnt
from generators.calibration.last_layer import LastLayer
from generators.exam import Exam


@dataclass(frozen=True)
class Head(Calibration):
    """Fits the last layer of each network to the training labels.

    Parameters
    ----------
    ridge : float, default=1e-2
        Penalty of squared weights of features over their deviation, times the number of
        samples: what is fitted does not depend on the scale of units.
    samples : int, default=2048
        Training samples, at most.
    """

    name: ClassVar[str] = "head"
    summary: ClassVar[str] = "last layer refit in closed form on training samples"

    ridge: float = 1e-2
    samples: int = 2048

    def refusal(self, exam: Exam) -> str:
        """Families without such a layer have no head."""
        return no_head(exam)

    def touched(self, exam: Exam) -> Array:
        """The last layer."""
        return LastLayer.of(exam).columns(exam)

    def apply(self, exam: Exam, weights: Array, learnt: Learnt) -> Array:
        """Networks with a new last layer."""
        layer, layout = LastLayer.of(exam), exam.architecture.layout
        x, labels = exam.inputs("train", self.samples)
        targets = functional.one_hot(labels, layout[layer.bias].size).to(torch.float64)
        out = np.array(weights, np.float32)
        for part, _, features in layer.parts(exam, weights, x):
            weight, bias = ridge_regression(features, targets, self.ridge)
            known = torch.isfinite(weight).flatten(1).all(1) & torch.isfinite(bias).all(1)
            rows = np.arange(part.start, part.stop)[known.cpu().numpy()]
            for name, value in ((layer.weight, weight), (layer.bias, bias)):
                values = value[known].flatten(1).to(torch.float32).cpu().numpy()
                out[rows, layout.slices[name]] = values
        return out


def ridge_regression(
    features: Tensor, targets: Tensor, ridge: float
) -> tuple[Tensor, Tensor]:
    """Weights (n, k, f) and intercepts (n, k) of n ridge regressions at once.

    Parameters
    ----------
    features : Tensor of shape (n, m, f)
        Where they are not finite, neither is the result.
    targets : Tensor of shape (m, k), float64
    ridge : float
        Penalty, in units of the sums of squares of each feature.
    """
    centre = features.mean(1, dtype=torch.float64)
    moved = features - centre[:, None].to(features.dtype)
    size = moved.square().sum(1, keepdim=True).sqrt()
    # Of constant features nothing is left to fit.
    unknown = torch.where(size == 0, 0.0, torch.nan)
    moved = torch.where((size > 0) & size.isfinite(), moved / size, unknown)
    inner = (moved.mT @ moved).to(torch.float64)
    mean = targets.mean(0)
    cross = moved.mT @ (targets - mean).to(features.dtype)
    broken = ~torch.isfinite(inner).flatten(1).all(1)
    inner[broken] = 0
    inner += ridge * torch.eye(features.shape[-1]).to(inner)
    found = torch.linalg.solve(inner, cross.to(torch.float64))
    weight = torch.where(size.mT > 0, found / size.mT, 0.0).mT.to(torch.float64)
    weight[broken] = torch.nan
    return weight, mean - (weight @ centre[..., None])[..., 0]


def no_head(exam: Exam) -> str:
    """Why a family has no head to refit."""
    try:
        LastLayer.of(exam)
    except CatalogError as error:
        return str(error)
    return ""


RIDGE = 1e-4
"""Of the bound, in its own mean."""


@dataclass(frozen=True)
class HeadSteps(Calibration):
    """Lowers the cross-entropy of training samples by the last layer alone.

    Trained networks keep what they have, which `Head` gives up.

    Parameters
    ----------
    steps : int, default=10
    samples : int, default=2048
        Training samples, at most.
    """

    name: ClassVar[str] = "head_steps"
    summary: ClassVar[str] = "last layer trained for a few steps on training samples"

    steps: int = 10
    samples: int = 2048

    def refusal(self, exam: Exam) -> str:
        """Families without such a layer have no head."""
        return no_head(exam)

    def touched(self, exam: Exam) -> Array:
        """The last layer."""
        return LastLayer.of(exam).columns(exam)

    def apply(self, exam: Exam, weights: Array, learnt: Learnt) -> Array:
        """Networks with a trained last layer."""
        layer, layout = LastLayer.of(exam), exam.architecture.layout
        x, labels = exam.inputs("train", self.samples)
        targets = functional.one_hot(labels, layout[layer.bias].size).to(x.dtype)
        out = np.array(weights, np.float32)
        for part, stack, features in layer.parts(exam, weights, x):
            own = torch.cat([stack[layer.weight], stack[layer.bias][..., None]], -1)
            found = descended(features, targets, own.detach(), self.steps)
            for name, value in (
                (layer.weight, found[..., :-1]),
                (layer.bias, found[..., -1]),
            ):
                out[part, layout.slices[name]] = value.flatten(1).cpu().numpy()
        return np.where(np.isfinite(out).all(1, keepdims=True), out, weights)


@torch.no_grad()
def descended(features: Tensor, targets: Tensor, own: Tensor, steps: int) -> Tensor:
    """Weights and intercepts (n, k, f + 1) after some steps from ``own``.

    Parameters
    ----------
    features : Tensor of shape (n, m, f)
    targets : Tensor of shape (m, k)
        One-hot.
    """
    inputs = functional.pad(features, (0, 1), value=1.0)
    inner = (inputs.mT @ inputs).to(torch.float64)
    broken = ~torch.isfinite(inner).flatten(1).all(1)
    inner[broken] = torch.eye(inner.shape[-1]).to(inner)
    ridge = RIDGE * inner.diagonal(dim1=1, dim2=2).mean(1)
    inner += ridge[:, None, None] * torch.eye(inner.shape[-1]).to(inner)
    # The curvature is at most (1 - 1/k) / 2 of the inner products, for each class.
    inverse = (2 * torch.linalg.inv(inner)).to(inputs.dtype)
    for _ in range(steps):
        wrong = torch.softmax(inputs @ own.mT, -1).sub_(targets)
        own = own - wrong.mT @ inputs @ inverse
    return own
