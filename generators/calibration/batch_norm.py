"""Calibration that re-estimates the statistics of batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from catalog.dtypes import Array
from generators.calibration.calibration import Calibration, Learnt
from generators.exam import Exam


@dataclass(frozen=True)
class BatchNorm(Calibration):
    """Re-estimates running statistics on training inputs, see `zoo.engine.refresh`.

    Both running means and variances are replaced.

    Parameters
    ----------
    samples : int, default=2048
        Maximum number of training inputs.
    """

    name: ClassVar[str] = "batch_norm"
    summary: ClassVar[str] = "batch statistics estimated anew on training inputs"

    samples: int = 2048

    def refusal(self, exam: Exam) -> str:
        """Refuse networks without buffers; see `Calibration.refusal`."""
        if self.touched(exam).any():
            return ""
        return f"{exam.architecture.name} has no batch normalisation"

    def touched(self, exam: Exam) -> Array:
        """Return the mask (d,) of the buffers."""
        return exam.buffers

    def apply(self, exam: Exam, weights: Array, learnt: Learnt) -> Array:
        """Return networks with their own statistics."""
        return exam.refreshed(weights, self.samples)
