"""Base class of calibrations of sampled networks with training data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from catalog.dtypes import Array
from generators.exam import Exam

Learnt = Mapping[str, Any]
"""Values that a calibration takes from the training networks, by name."""


class Calibration(ABC):
    """Base class of calibrations, which change some tensors with training data only.

    A calibration is applied in the same way to samples, nulls, training networks and
    held-out networks, and reported beside the uncalibrated results.
    """

    name: ClassVar[str]
    """Name on the command line."""
    summary: ClassVar[str]
    """One line for `phasezoo generate --list`."""

    @abstractmethod
    def refusal(self, exam: Exam) -> str:
        """Return why the calibration does not apply to the architecture; "" if it does."""

    @abstractmethod
    def touched(self, exam: Exam) -> Array:
        """Return the mask (d,) of the columns that the calibration changes."""

    def learn(self, exam: Exam, training: Array) -> Learnt:
        """Fit the calibration to training networks (n, d) in the units of the samples."""
        return {}

    @abstractmethod
    def apply(self, exam: Exam, weights: Array, learnt: Learnt) -> Array:
        """Return calibrated networks (n, d)."""
