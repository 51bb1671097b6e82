"""One measured property of checkpoints; instances are in `zoo.metrics`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array
from catalog.plugins.ranges import Setting
from catalog.schema import Column
from zoo.merging.derived import Shard
from zoo.networks import Networks, Progress
from zoo.run import Run
from zoo.task import Task

"""Parts of a task's data."""


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
        called ``x_se``; of a paired metric it is that of the cell's mean over pairs, one
        value for all its seeds (`zoo.landscape.pair_means`), NaN with fewer than three.
    version : int
        Raised by a change that changes values.
    paired : bool
        Whether it compares the seeds of a cell: then whole cells are measured together.
    along : bool
        Whether it looks at the checkpoints of a run together: then whole runs are measured.
    suite : {"landscape", "downstream"}
        What `phasezoo measure` measures by default, and what `phasezoo downstream` does.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]]
    version: ClassVar[int] = 1
    paired: ClassVar[bool] = False
    along: ClassVar[bool] = False
    suite: ClassVar[str] = "landscape"

    @abstractmethod
    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Values (n,) by column; NaN (None in text columns) is what was not measured."""

    @abstractmethod
    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Cost, in gradients of one network on one sample."""

    def check(self, run: Run, task: Task) -> None:  # noqa: B027 (most refuse nothing)
        """Refuse, before anything is measured, a network for which settings are wrong.

        Raises
        ------
        CatalogError
            Saying what to set.
        """

    def blank(self, n: int) -> dict[str, Array]:
        """Values (n,) by column of networks that were not measured: NaN, None in text."""
        return {
            column.name: np.full(n, None, object)
            if column.type == pa.string()
            else np.full(n, np.nan)
            for column in self.columns
        }

    def provenance(self) -> dict[str, Any]:
        """Settings as JSON values."""
        return {"metric": self.name, "version": self.version, **asdict(self)}


class Maker(Metric):
    """A metric that makes networks to measure them, and gives them away."""

    suite: ClassVar[str] = "downstream"

    @abstractmethod
    def make(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> tuple[dict[str, Array], list[Shard]]:
        """Values as of `measure`, and the networks that were made, ready to be stored.

        Networks without a table (`Networks.table`) make none.
        """

    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Values (n,) by column."""
        return self.make(networks, seed=seed, progress=progress)[0]


def check_least(metric: Metric, **least: int) -> None:
    """Raise `BadSetting` for a setting that is no whole number of at least so much."""
    for field, low in least.items():
        Setting.of(metric, field).whole(low)
