"""The last layer trained for a few steps from where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional

from catalog.dtypes import Array
from generators.calibration.calibration import Calibration, Learnt
from generators.calibration.head import no_head
from generators.calibration.last_layer import LastLayer
from generators.judging.exam import Exam


@dataclass(frozen=True)
class HeadSteps(Calibration):
    """Lowers the cross-entropy of training samples by the last layer alone.

    Full batches, Adam. Trained networks keep what they have, which `Head` gives up.

    Parameters
    ----------
    steps : int, default=50
    lr : float, default=0.02
    samples : int, default=2048
        Training samples, at most.
    """

    name: ClassVar[str] = "head_steps"
    summary: ClassVar[str] = "last layer trained for a few steps on training samples"

    steps: int = 50
    lr: float = 0.02
    samples: int = 2048

    def refusal(self, exam: Exam) -> str:
        """Families without such a layer have no head."""
        return no_head(exam)

    def touched(self, exam: Exam) -> Array:
        """The last layer."""
        return LastLayer.of(exam).columns(exam)

    def apply(self, exam: Exam, weights: Array, learnt: Learnt) -> Array:
        """Networks with a trained last layer."""
        layer, layout = LastLayer.of(exam), exam.networks.architecture.layout
        x, labels = exam.inputs("train", self.samples)
        out = np.array(weights, np.float32)
        for part, stack, features in layer.parts(exam, weights, x):
            own = [stack.tensors[n].detach().clone() for n in (layer.weight, layer.bias)]
            weight, bias = (tensor.requires_grad_() for tensor in own)
            adam = torch.optim.Adam([weight, bias], self.lr)
            n = len(features)
            with torch.enable_grad():
                for _ in range(self.steps):
                    logits = torch.baddbmm(bias[:, None], features, weight.mT)
                    loss = functional.cross_entropy(
                        logits.flatten(0, 1), labels.repeat(n), reduction="sum"
                    )
                    adam.zero_grad()
                    (loss / len(labels)).backward()
                    adam.step()
            for name, value in ((layer.weight, weight), (layer.bias, bias)):
                flat = value.detach().flatten(1).cpu().numpy()
                out[part, layout.slices[name]] = flat
        return np.where(np.isfinite(out).all(1, keepdims=True), out, weights)
