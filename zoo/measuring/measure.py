"""Measuring of checkpoints: worker processes measure, this process hands out jobs.

This module needs no torch. Every job is committed as one shard of measures, so that its
results survive an interruption and are not measured again. A worker holds the weights of
one job (`zoo.measuring.plan.MOST_BYTES`, or one cell) and the memory that a metric states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.console.extras import require
from catalog.console.progress import Progress, clock
from catalog.plugins.keywords import takes_fields
from catalog.plugins.settings import Settings
from zoo.measuring.request import MeasureRequest
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


@takes_fields(MeasureRequest)
def measure(
    catalog: str | Path,
    zoo: str,
    metrics: Sequence[Metric | str] | None = None,
    *,
    settings: Settings = (),
    announce: Callable[[str], None] = lambda text: None,
    **options: Any,
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
    announce : callable
        Function that is called, before measuring starts, with lines that say what will be
        measured and how long it may take.
    **options
        Further fields of `zoo.measuring.request.MeasureRequest`: ``steps``, ``where``,
        ``task``, ``architecture``, ``seed``, ``again``, ``data``, ``workers``, ``device``.

    Returns
    -------
    Measured

    Raises
    ------
    CatalogError
        If an option or a setting is invalid, before anything is read; if the zoo, the
        metric or the data do not exist, or a worker fails. Committed results stay.
    """
    request = MeasureRequest.of(catalog, zoo, metrics, settings=settings, **options)
    return measure_requested(request, announce)


def measure_requested(
    request: MeasureRequest, announce: Callable[[str], None] = lambda text: None
) -> Measured:
    """Measure what a request asks for; see `measure`."""
    require("torch")
    account = _Account(request.zoo)
    pool = WorkerPool("zoo.measuring.worker", account.committed, account.take)
    try:
        pool.start(request.processes, request.setup())
        plan = pool.expect("plan")
        for text in account.begin(plan, request.processes):
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
        lines = list(plan["notes"])
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
