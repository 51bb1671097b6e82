"""Calibrations of the last layer: ridge regression in closed form, and gradient steps."""

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


class OfLastLayer(Calibration):
    """Base class of the calibrations that change the last layer alone."""

    def refusal(self, exam: Exam) -> str:
        """Return a reason if the architecture has no such layer, or ""."""
        return no_head(exam)

    def touched(self, exam: Exam) -> Array:
        """Return the mask (d,) of the last layer."""
        return LastLayer.of(exam).columns(exam)


@dataclass(frozen=True)
class Head(OfLastLayer):
    """Refits the last layer of each network to the training labels by ridge regression.

    Parameters
    ----------
    ridge : float, default=1e-2
        Penalty of squared weights of standardised features, times the number of samples:
        the fit does not depend on the scale of units.
    samples : int, default=2048
        Maximum number of training samples.
    """

    name: ClassVar[str] = "head"
    summary: ClassVar[str] = "last layer refit in closed form on training samples"

    ridge: float = 1e-2
    samples: int = 2048

    def apply(self, exam: Exam, weights: Array, learnt: Learnt) -> Array:
        """Return networks with a refitted last layer."""
        layer, layout = LastLayer.of(exam), exam.architecture.layout
        x, labels = exam.inputs("train", self.samples)
        targets = functional.one_hot(labels, layout[layer.bias].size).to(torch.float64)
        out = np.array(weights, np.float32)
        for networks, _, features in layer.parts(exam, weights, x):
            weight, bias = ridge_regression(features, targets, self.ridge)
            is_known = torch.isfinite(weight).flatten(1).all(1) & torch.isfinite(bias).all(
                1
            )
            rows = np.arange(networks.start, networks.stop)[is_known.cpu().numpy()]
            for name, value in ((layer.weight, weight), (layer.bias, bias)):
                values = value[is_known].flatten(1).to(torch.float32).cpu().numpy()
                out[rows, layout.slices[name]] = values
        return out


def ridge_regression(
    features: Tensor, targets: Tensor, ridge: float
) -> tuple[Tensor, Tensor]:
    """Solve n ridge regressions at once: weights (n, k, f) and intercepts (n, k).

    Parameters
    ----------
    features : Tensor of shape (n, m, f)
        Features; where they are not finite, neither is the result.
    targets : Tensor of shape (m, k), float64
        Targets, the same for all networks.
    ridge : float
        Penalty, in units of the sums of squares of each feature.
    """
    centre = features.mean(1, dtype=torch.float64)
    standardised = features - centre[:, None].to(features.dtype)
    norm = standardised.square().sum(1, keepdim=True).sqrt()
    # Constant features have nothing to fit: their weights are 0.
    placeholder = torch.where(norm == 0, 0.0, torch.nan)
    standardised = torch.where(
        (norm > 0) & norm.isfinite(), standardised / norm, placeholder
    )
    inner = (standardised.mT @ standardised).to(torch.float64)
    mean = targets.mean(0)
    cross = standardised.mT @ (targets - mean).to(features.dtype)
    is_broken = ~torch.isfinite(inner).flatten(1).all(1)
    inner[is_broken] = 0
    inner += ridge * torch.eye(features.shape[-1]).to(inner)
    solution = torch.linalg.solve(inner, cross.to(torch.float64))
    weight = torch.where(norm.mT > 0, solution / norm.mT, 0.0).mT.to(torch.float64)
    weight[is_broken] = torch.nan
    return weight, mean - (weight @ centre[..., None])[..., 0]


def no_head(exam: Exam) -> str:
    """Return why an architecture has no head to refit; an empty string if it has one."""
    try:
        LastLayer.of(exam)
    except CatalogError as error:
        return str(error)
    return ""


RIDGE = 1e-4
"""Penalty of the curvature bound, relative to the mean of its diagonal."""


@dataclass(frozen=True)
class HeadSteps(OfLastLayer):
    """Lowers the cross-entropy on training samples by steps on the last layer alone.

    Trained networks keep what their last layer has learnt, which `Head` discards.

    Parameters
    ----------
    steps : int, default=10
        Number of gradient steps.
    samples : int, default=2048
        Maximum number of training samples.
    """

    name: ClassVar[str] = "head_steps"
    summary: ClassVar[str] = "last layer trained for a few steps on training samples"

    steps: int = 10
    samples: int = 2048

    def apply(self, exam: Exam, weights: Array, learnt: Learnt) -> Array:
        """Return networks with a trained last layer."""
        layer, layout = LastLayer.of(exam), exam.architecture.layout
        x, labels = exam.inputs("train", self.samples)
        targets = functional.one_hot(labels, layout[layer.bias].size).to(x.dtype)
        out = np.array(weights, np.float32)
        for networks, stack, features in layer.parts(exam, weights, x):
            layers = torch.cat([stack[layer.weight], stack[layer.bias][..., None]], -1)
            trained = descended(features, targets, layers.detach(), self.steps)
            for name, value in (
                (layer.weight, trained[..., :-1]),
                (layer.bias, trained[..., -1]),
            ):
                out[networks, layout.slices[name]] = value.flatten(1).cpu().numpy()
        return np.where(np.isfinite(out).all(1, keepdims=True), out, weights)


@torch.no_grad()
def descended(features: Tensor, targets: Tensor, own: Tensor, steps: int) -> Tensor:
    """Return weights and intercepts (n, k, f + 1) after some steps from ``own``.

    Parameters
    ----------
    features : Tensor of shape (n, m, f)
        Inputs of the last layer of n networks.
    targets : Tensor of shape (m, k)
        One-hot labels.
    own : Tensor of shape (n, k, f + 1)
        Initial weights and intercepts.
    steps : int
        Number of gradient steps.
    """
    inputs = functional.pad(features, (0, 1), value=1.0)
    inner = (inputs.mT @ inputs).to(torch.float64)
    is_broken = ~torch.isfinite(inner).flatten(1).all(1)
    inner[is_broken] = torch.eye(inner.shape[-1]).to(inner)
    ridge = RIDGE * inner.diagonal(dim1=1, dim2=2).mean(1)
    inner += ridge[:, None, None] * torch.eye(inner.shape[-1]).to(inner)
    # The curvature is at most (1 - 1/k) / 2 of the inner products, for each class.
    inverse = (2 * torch.linalg.inv(inner)).to(inputs.dtype)
    for _ in range(steps):
        errors = torch.softmax(inputs @ own.mT, -1).sub_(targets)
        own = own - errors.mT @ inputs @ inverse
    return own
