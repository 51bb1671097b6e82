"""Measuring of checkpoints: worker processes measure, this process hands out jobs.

This module needs no torch. Every job is committed as one shard of measures, so that its
results survive an interruption and are not measured again. A worker holds the weights of
one job (`zoo.measuring.plan.MOST_BYTES`, or one cell) and the memory that a metric states.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog import CatalogError
from catalog.console.extras import require
from catalog.console.progress import Progress, clock
from catalog.plugins.settings import Settings, parse
from zoo.workers.pool import Message, WorkerPool

if TYPE_CHECKING:
    from zoo.metric import Metric


@dataclass
class Measured:
    """Summary of one call of `measure`.

    Attributes
    ----------
    zoo : str
        Name of the zoo.
    checkpoints : int
        Number of selected checkpoints.
    known, measured : dict of str to int
        Number of checkpoints by metric: measured before with the same settings, and
        measured now.
    seconds : dict of str to float
        Processor time by metric, estimated before measuring.
    """

    zoo: str
    checkpoints: int = 0
    known: dict[str, int] | None = None
    measured: dict[str, int] | None = None
    seconds: dict[str, float] | None = None


def measure(
    catalog: str | Path,
    zoo: str,
    metrics: Sequence[Metric | str] | None = None,
    *,
    settings: Settings = (),
    where: str = "true",
    steps: str = "all",
    data: str | Path | None = None,
    task: str | None = None,
    architecture: str | None = None,
    seed: int = 0,
    workers: int | None = None,
    device: str = "auto",
    again: bool = False,
    announce: Callable[[str], None] = lambda text: None,
) -> Measured:
    """Measure checkpoints of a zoo and store the results as measures.

    Parameters
    ----------
    catalog : str or Path
        Folder of the catalogue.
    zoo : str
        Name of the zoo.
    metrics : sequence of Metric or str, optional
        Metrics of `zoo.metrics`; by default those of the suite "landscape". Metrics given
        by name have their default settings.
    settings : mapping or iterable of str
        Settings of metrics, as values by ``METRIC.FIELD`` or as texts
        ``METRIC.FIELD=VALUE``, see `zoo.metrics.settings.with_settings`.
    where : str
        SQL condition on ``models`` that selects checkpoints. Metrics that compare seeds
        measure every cell with a selected checkpoint as a whole.
    steps : {"all", "last"}
        Checkpoints of each run to measure.
    data : str or Path, optional
        Folder or file with the data, as for `zoo.training.train`.
    task, architecture : str, optional
        Name of the task and JSON of the architecture, for runs that do not record them.
    seed : int
        Seed of all random draws; part of the provenance.
    workers : int, optional
        Number of worker processes; default: one per core.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, or the best available device.
    again : bool
        Whether to measure again what was already measured with the same settings.
    announce : callable
        Function that is called, before measuring starts, with lines that say what will be
        measured and how long it may take.

    Returns
    -------
    Measured

    Raises
    ------
    CatalogError
        If a setting is invalid, before anything is read; if the zoo, the metric or the data
        do not exist, or a worker fails. Committed results stay.
    """
    if workers is not None and workers < 1:
        raise CatalogError(f"--workers must be at least 1. Got {workers}.")
    if steps not in ("all", "last"):
        raise CatalogError(f"--steps must be all or last. Got {steps!r}.")
    require("torch")
    count = workers or os.cpu_count() or 1
    metric_setup = None
    settings = parse(settings)
    if settings:  # without settings, only the workers need torch
        from zoo.metrics import metrics as known
        from zoo.metrics.settings import with_settings

        selected = known("landscape") if metrics is None else metrics
        metrics = with_settings(tuple(selected), settings)
    if metrics is not None:
        metric_setup = [m if isinstance(m, str) else m.provenance() for m in metrics]
    setup = {
        "catalog": str(catalog),
        "zoo": zoo,
        "metrics": metric_setup,
        "where": where,
        "steps": steps,
        "data": None if data is None else str(data),
        "task": task,
        "architecture": architecture,
        "seed": seed,
        "device": device,
        "workers": count,
        "threads": max(1, (os.cpu_count() or 1) // count),
        "again": again,
    }
    account = _Account(zoo)
    pool = WorkerPool("zoo.measuring.worker", account.committed, account.take)
    try:
        pool.start(count, setup)
        plan = pool.expect("plan")
        for text in account.begin(plan, count):
            announce(text)
        if plan["jobs"]:
            pool.work(plan["jobs"])
        return account.result
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(str(interrupt) or "Nothing was measured yet.") from None
    finally:
        account.close()
        pool.end()


class _Account:
    """Account of the workers' reports: the result and the progress bar."""

    def __init__(self, zoo: str) -> None:
        self.result = Measured(zoo, known={}, measured={}, seconds={})
        self._bar: Progress | None = None
        self._done = 0.0

    def begin(self, plan: dict[str, Any], workers: int) -> list[str]:
        """Take the plan and return lines that say what it will cost."""
        self.result.checkpoints = plan["checkpoints"]
        self.result.known, self.result.seconds = plan["known"], plan["seconds"]
        self.result.measured = dict.fromkeys(plan["known"], 0)
        lines = []
        for name, seconds in plan["seconds"].items():
            remaining = plan["checkpoints"] - plan["known"][name]
            if remaining:
                lines.append(
                    f"{name}: {remaining:,} checkpoints, about {clock(seconds / workers)}"
                )
        total = sum(job["seconds"] for job in plan["jobs"])
        if plan["jobs"]:
            self._bar = Progress(total, "core-seconds", self.result.zoo)
        return lines

    def take(self, message: Message) -> None:
        """Account for one message of a worker."""
        if "share" in message:
            self._done += message["share"]
            if self._bar is not None:
                self._bar.update(self._done)
        elif "done" in message and "metric" in message:
            assert self.result.measured is not None
            self.result.measured[message["metric"]] += message["networks"]

    def committed(self) -> str:
        """Return a clause that says how much is committed."""
        counts = (self.result.measured or {}).items()
        listed = ", ".join(f"{n:,} of {name}" for name, n in counts if n)
        return f"Results of {listed} are committed" if listed else "Nothing is committed"

    def close(self) -> None:
        """Finish the progress bar."""
        if self._bar is not None:
            self._bar.close(self._done)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self.result)
