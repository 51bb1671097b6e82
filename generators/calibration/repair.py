"""REPAIR for networks without parents, with statistics of the training networks [1]_.

References
----------
.. [1] Jordan et al., 2022, arXiv:2211.08403. Difference: a sample has no parents, so the
   target statistics are means over training networks; see also `zoo.merging.repair`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from generators.calibration.calibration import Calibration, Learnt
from generators.exam import Exam
from zoo import Editable


@dataclass(frozen=True)
class Repair(Calibration):
    """Gives every unit its mean and standard deviation over the training networks.

    If the units of the networks are in different orders, every unit gets about the mean of
    its layer.

    Parameters
    ----------
    samples : int, default=1024
        Maximum number of training inputs.
    networks : int, default=256
        Maximum number of training networks whose statistics are averaged.
    """

    name: ClassVar[str] = "repair"
    summary: ClassVar[str] = "units get the mean statistics of training networks"

    samples: int = 1024
    networks: int = 256

    def refusal(self, exam: Exam) -> str:
        """Refuse architectures that are not `Editable`; see `Calibration.refusal`."""
        architecture = exam.architecture
        if isinstance(architecture, Editable):
            return ""
        return (
            f"the outputs of units of {architecture.name} cannot be changed; see batch_norm"
        )

    def touched(self, exam: Exam) -> Array:
        """Return the mask (d,) of the weights and biases of the affine maps."""
        architecture = exam.architecture
        assert isinstance(architecture, Editable)
        mask = np.zeros(architecture.layout.d, bool)
        for name in architecture.affine:
            for part in ("weight", "bias"):
                mask[architecture.layout.slices[f"{name}.{part}"]] = True
        return mask

    def learn(self, exam: Exam, training: Array) -> Learnt:
        """Return the mean statistics of training networks (n, d)."""
        rows = np.random.default_rng(0).permutation(len(training))[: self.networks]
        return exam.unit_statistics(training[np.sort(rows)], self.samples)

    def apply(self, exam: Exam, weights: Array, learnt: Learnt) -> Array:
        """Return repaired networks (n, d)."""
        return exam.with_unit_statistics(weights, learnt, self.samples)
