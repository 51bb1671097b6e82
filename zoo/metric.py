"""One measured property of checkpoints; instances are in `zoo.metrics`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from catalog.dtypes import Array
from catalog.schema import Column
from zoo.networks import Networks, Progress


@dataclass(frozen=True)
class Metric(ABC):
    """A measure of many checkpoints at once; its fields are its settings.

    Attributes
    ----------
    name : str
        On the command line, and the measure's name in the catalogue.
    summary : str
        One line.
    columns : tuple of Column
        What it gives: name, Arrow type, unit, meaning. The standard error of ``x`` is
        called ``x_se``.
    version : int
        Raised by a change that changes values.
    paired : bool
        Whether it compares the seeds of a cell: then whole cells are measured together.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]]
    version: ClassVar[int] = 1
    paired: ClassVar[bool] = False

    @abstractmethod
    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Values (n,) by column; NaN (None in text columns) is what was not measured."""

    @abstractmethod
    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Cost, in gradients of one network on one sample."""

    def provenance(self) -> dict[str, Any]:
        """Settings as JSON values."""
        return {"metric": self.name, "version": self.version, **asdict(self)}
