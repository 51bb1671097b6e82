"""What may be done to sampled networks with training data before they are judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from catalog.dtypes import Array
from generators.exam import Exam

Learnt = Mapping[str, Any]
"""What a calibration takes from the training networks."""


class Calibration(ABC):
    """Changes some tensors of networks, with training data only.

    It is applied alike to samples, nulls, training and held-out networks, and reported
    beside what is not calibrated.
    """

    name: ClassVar[str]
    """On the command line."""
    summary: ClassVar[str]
    """One line for `phasezoo generate --list`."""

    @abstractmethod
    def refusal(self, exam: Exam) -> str:
        """Why networks of this architecture cannot be calibrated so; "" if they can."""

    @abstractmethod
    def touched(self, exam: Exam) -> Array:
        """Mask (d,) of the columns that it changes."""

    def learn(self, exam: Exam, training: Array) -> Learnt:
        """What it takes from training networks (n, d) in the units of the samples."""
        return {}

    @abstractmethod
    def apply(self, exam: Exam, weights: Array, learnt: Learnt) -> Array:
        """Calibrated networks (n, d)."""
