"""Base classes of metrics of checkpoints; instances are in `zoo.metrics`."""

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


@dataclass(frozen=True)
class Metric(ABC):
    """Base class of metrics, which measure many checkpoints at once; fields are settings.

    Attributes
    ----------
    name : str
        Name on the command line, and of the measure in the catalogue.
    summary : str
        Description in one line.
    columns : tuple of Column
        Columns of the result: name, Arrow type, unit, meaning. The standard error of
        ``x`` is called ``x_se``; in a paired metric it is the standard error of the cell's
        mean over pairs, one value for all seeds of the cell (`zoo.landscape.pair_means`),
        and NaN with fewer than three seeds.
    version : int
        Version of the metric; raise it with every change that changes values.
    paired : bool
        Whether the metric compares the seeds of a cell, so that whole cells are measured
        together.
    along : bool
        Whether the metric compares the checkpoints of a run, so that whole runs are
        measured together.
    suite : {"landscape", "downstream"}
        Suite of the metric: `phasezoo measure` measures "landscape" by default,
        `phasezoo downstream` measures "downstream".
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
        """Measure n networks.

        Parameters
        ----------
        networks : Networks
            Networks to measure.
        seed : int
            Seed of all random draws.
        progress : callable, optional
            Function that is called with the share of the work done, 0 to 1.

        Returns
        -------
        dict of str to ndarray of shape (n,)
            Values by column; NaN (None in text columns) where a network was not measured.
        """

    @abstractmethod
    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost in gradients of one network on one sample.

        Parameters
        ----------
        networks : int
            Number of networks to measure.
        pairs : int
            Number of pairs of networks that are compared.
        train_samples : int
            Number of training samples of the task.
        """

    def check(self, run: Run, task: Task) -> None:  # noqa: B027 (most check nothing)
        """Check, before anything is measured, that the settings fit a network.

        Raises
        ------
        CatalogError
            If a setting does not fit; the message says what to set.
        """

    def blank(self, n: int) -> dict[str, Array]:
        """Return values (n,) by column for unmeasured networks: NaN, or None in text."""
        return {
            column.name: np.full(n, None, object)
            if column.type == pa.string()
            else np.full(n, np.nan)
            for column in self.columns
        }

    def provenance(self) -> dict[str, Any]:
        """Return name, version and settings as JSON values."""
        return {"metric": self.name, "version": self.version, **asdict(self)}


class Maker(Metric):
    """Base class of metrics that make new networks, measure them and return them."""

    suite: ClassVar[str] = "downstream"

    @abstractmethod
    def make(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> tuple[dict[str, Array], list[Shard]]:
        """Measure n networks and return the networks that were made.

        Parameters
        ----------
        networks : Networks
            Networks to measure.
        seed : int
            Seed of all random draws.
        progress : callable, optional
            Function that is called with the share of the work done, 0 to 1.

        Returns
        -------
        values : dict of str to ndarray of shape (n,)
            Values by column, as `measure` returns them.
        shards : list of Shard
            New networks, ready to be stored; empty if the networks have no table
            (`Networks.table`).
        """

    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Return the values (n,) by column, without the networks that were made."""
        return self.make(networks, seed=seed, progress=progress)[0]


def check_least(metric: Metric, **least: int) -> None:
    """Raise `BadSetting` unless each named setting is a whole number of at least its bound.

    Parameters
    ----------
    metric : Metric
        Metric whose settings are checked.
    **least : int
        Smallest value of each setting, by its field.
    """
    for field, low in least.items():
        Setting.of(metric, field).whole(low)
