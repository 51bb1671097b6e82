"""Measuring checkpoints of a catalogue: workers measure, this process hands out jobs.

This module needs no torch. Every job is committed as one shard of measures, so that what
was measured survives an interruption and is not measured again. A worker holds the weights
of one job (`zoo.measuring.plan.MOST_BYTES`, or one cell) and what a metric states.
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
    """What `measure` did.

    Attributes
    ----------
    zoo : str
        Its name.
    checkpoints : int
        Selected.
    known, measured : dict of str to int
        Checkpoints by metric: measured before with the same settings, and now.
    seconds : dict of str to float
        Estimated processor time by metric, before it was measured.
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
        Of `zoo.metrics`; default those of the suite "landscape". Names take the default
        settings.
    settings : mapping or iterable of str
        Of metrics, values by ``METRIC.FIELD`` or texts ``METRIC.FIELD=VALUE``, see
        `zoo.metrics.settings.with_settings`.
    where : str
        Condition on ``models``, to measure a part. What compares seeds measures the whole
        cells that it touches.
    steps : {"all", "last"}
        Which checkpoints of each run.
    data : str or Path, optional
        Folder or file with the data, as for `zoo.training.train`.
    task, architecture : str, optional
        For runs that do not say what they are: name of a task, JSON of an architecture.
    seed : int
        Of all draws; part of the provenance.
    workers : int, optional
        Processes; default one per core.
    again : bool
        Measure also what is there already.
    announce : callable
        Is told what will be measured and how long it may take, before it starts.

    Returns
    -------
    Measured

    Raises
    ------
    CatalogError
        If a setting cannot be, before anything is read; if the zoo, the metric or the data
        are absent, or a worker fails; what was committed stays.
    """
    if workers is not None and workers < 1:
        raise CatalogError(f"--workers must be at least 1. Got {workers}.")
    if steps not in ("all", "last"):
        raise CatalogError(f"--steps must be all or last. Got {steps!r}.")
    require("torch")
    count = workers or os.cpu_count() or 1
    chosen = None
    settings = parse(settings)
    if settings:  # else the workers alone need torch
        from zoo.metrics import metrics as known
        from zoo.metrics.settings import with_settings

        given = known("landscape") if metrics is None else metrics
        metrics = with_settings(tuple(given), settings)
    if metrics is not None:
        chosen = [m if isinstance(m, str) else m.provenance() for m in metrics]
    setup = {
        "catalog": str(catalog),
        "zoo": zoo,
        "metrics": chosen,
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
    crew = WorkerPool("zoo.measuring.worker", account.committed, account.take)
    try:
        crew.start(count, setup)
        plan = crew.expect("plan")
        for text in account.begin(plan, count):
            announce(text)
        if plan["jobs"]:
            crew.work(plan["jobs"])
        return account.result
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(str(interrupt) or "Nothing was measured yet.") from None
    finally:
        account.close()
        crew.end()


class _Account:
    """What the workers report, as a result and a bar."""

    def __init__(self, zoo: str) -> None:
        self.result = Measured(zoo, known={}, measured={}, seconds={})
        self._bar: Progress | None = None
        self._done = 0.0

    def begin(self, plan: dict[str, Any], workers: int) -> list[str]:
        """Take the plan; lines that say what it will cost."""
        self.result.checkpoints = plan["checkpoints"]
        self.result.known, self.result.seconds = plan["known"], plan["seconds"]
        self.result.measured = dict.fromkeys(plan["known"], 0)
        lines = []
        for name, seconds in plan["seconds"].items():
            left = plan["checkpoints"] - plan["known"][name]
            if left:
                lines.append(
                    f"{name}: {left:,} checkpoints, about {clock(seconds / workers)}"
                )
        total = sum(job["seconds"] for job in plan["jobs"])
        if plan["jobs"]:
            self._bar = Progress(total, "core-seconds", self.result.zoo)
        return lines

    def take(self, message: Message) -> None:
        """Account for one message."""
        if "share" in message:
            self._done += message["share"]
            if self._bar is not None:
                self._bar.update(self._done)
        elif "done" in message and "metric" in message:
            assert self.result.measured is not None
            self.result.measured[message["metric"]] += message["networks"]

    def committed(self) -> str:
        """How much is safe."""
        counts = (self.result.measured or {}).items()
        listed = ", ".join(f"{n:,} of {name}" for name, n in counts if n)
        return f"Results of {listed} are committed" if listed else "Nothing is committed"

    def close(self) -> None:
        """Show the end of the bar."""
        if self._bar is not None:
            self._bar.close(self._done)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self.result)
