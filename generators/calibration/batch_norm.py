"""Statistics of batch normalisation, estimated anew on training inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from catalog.dtypes import Array
from generators.calibration.calibration import Calibration, Learnt
from generators.exam import Exam


@dataclass(frozen=True)
class BatchNorm(Calibration):
    """Replaces running means and variances, see `zoo.engine.refresh`.

    Parameters
    ----------
    samples : int, default=2048
        Training inputs, at most.
    """

    name: ClassVar[str] = "batch_norm"
    summary: ClassVar[str] = "batch statistics estimated anew on training inputs"

    samples: int = 2048

    def refusal(self, exam: Exam) -> str:
        """Networks without buffers have nothing to estimate."""
        if self.touched(exam).any():
            return ""
        return f"{exam.architecture.name} has no batch normalisation"

    def touched(self, exam: Exam) -> Array:
        """The buffers."""
        return exam.buffers

    def apply(self, exam: Exam, weights: Array, learnt: Learnt) -> Array:
        """Networks with statistics of their own."""
        return exam.refreshed(weights, self.samples)
