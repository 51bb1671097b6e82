"""The last layer trained for a few steps from where it is.

Logistic regression of the classes on the features, by a fixed bound of its curvature [1]_:
every step lowers the loss, and there is no learning rate.

References
----------
.. [1] Böhning, 1992, Multinomial logistic regression algorithm, AISM 44. Differs: all
   networks at once, and the bound gets a small ridge, as features may be dependent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from catalog.dtypes import Array
from generators.calibration.calibration import Calibration, Learnt
from generators.calibration.head import no_head
from generators.calibration.last_layer import LastLayer
from generators.exam import Exam

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
