"""Planning of measurements: the jobs that remain for a zoo, and their cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from catalog import NotFound
from catalog.catalog import Catalog, arrow_table
from catalog.errors import closest
from catalog.names import content_id
from catalog.quoting import literal
from zoo.architecture import Architecture
from zoo.engine.batch_gradient import BatchGradient
from zoo.engine.stack import best_size, build_architecture
from zoo.engine.stack_weights import StackWeights
from zoo.engine.train_stack import initial_weights
from zoo.measuring.request import MeasureRequest
from zoo.metric import Metric
from zoo.networks import compared, pairing
from zoo.objective import Batch
from zoo.objectives import OBJECTIVES
from zoo.run import Run
from zoo.samples import Batches, view
from zoo.stored import cell_of, run_of
from zoo.task import Data

JOBS = 8
"""Number of jobs per worker, metric and architecture; an interruption can cost one job."""

FEWEST = 32
"""Minimum number of checkpoints of a job, if there are enough and they fit, because stacks
should be deep."""

MOST_BYTES = 64 << 20
"""Maximum size of the weights of a job in bytes, unless a single cell is larger."""

Row = dict[str, Any]


def selected_rows(catalog: Catalog, zoo: str, where: str, steps: str) -> list[Row]:
    """Return rows of ``models`` with weights, in an order independent of ``where``.

    Raises
    ------
    NotFound
        If there is no such zoo, or none of its checkpoints with weights matches.
    """
    last = "QUALIFY step = max(step) OVER (PARTITION BY run_id)" if steps == "last" else ""
    query = f"""SELECT * FROM ({catalog.matching(where)}) WHERE zoo = {literal(zoo)}
        AND "row" IS NOT NULL {last} ORDER BY step, run_id"""
    rows: list[Row] = arrow_table(catalog.sql(query)).to_pylist()
    if not rows:
        zoos = [r[0] for r in catalog.sql("SELECT DISTINCT zoo FROM runs").fetchall()]
        if zoo not in zoos:
            raise NotFound(f"No zoo {zoo!r} in {catalog.root}. {closest(zoo, zoos)}")
        raise NotFound(
            f"No checkpoint of {zoo!r} with weights matches the condition: {where}"
        )
    return rows


def settings_column(metric: Metric) -> str:
    """Return the column that holds the settings id of a metric's newest values."""
    return f"{metric.name}_settings"


def settings_id(metric: Metric, provenance: Mapping[str, Any]) -> str:
    """Return the settings id: the id that `Writer.commit_measures` gives to the results."""
    return content_id([metric.name, dict(provenance)], 16)


def known_keys(metric: Metric, rows: Sequence[Row], own: str) -> set[Any]:
    """Return the checkpoints whose newest values, null or not, come from these settings.

    Parameters
    ----------
    metric : Metric
        Metric whose settings column is read.
    rows : sequence of dict
        Rows of ``models``.
    own : str
        Settings id to look for.
    """
    column = settings_column(metric)
    return {(row["run_id"], row["step"]) for row in rows if row.get(column) == own}


def measuring_groups(metric: Metric, rows: Sequence[Row]) -> dict[str, list[list[Row]]]:
    """Return, by architecture, the groups of rows that must be measured together.

    A group is a cell at one step, or a part of a large cell, for a metric that compares
    seeds; a run for a metric that compares the checkpoints of a run; otherwise one row.
    """
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        group = f"{row['run_id']} {row['step']}"
        if metric.along:
            group = row["run_id"]
        elif metric.paired:
            group = cell_of(row)
        groups.setdefault(row["arch_id"], {}).setdefault(group, []).append(row)
    if metric.along:
        return {arch_id: list(runs.values()) for arch_id, runs in groups.items()}
    return {
        arch_id: [
            [cell[i] for i in part]
            for cell in cells.values()
            for part in compared(len(cell))
        ]
        for arch_id, cells in groups.items()
    }


def jobs_of(
    metric: Metric, rows: Sequence[Row], known: set[Any], workers: int
) -> list[Any]:
    """Return jobs: lists of keys of one architecture, made of whole measuring groups."""
    jobs = []
    for cells in measuring_groups(metric, rows).values():
        remaining = [
            cell
            for cell in cells
            if any((row["run_id"], row["step"]) not in known for row in cell)
        ]
        total = sum(len(cell) for cell in remaining)
        net_bytes = 4 * int(cells[0][0]["parameters"] or 1)
        size = max(-(-total // (JOBS * workers)), min(total, FEWEST))
        size = max(1, min(size, MOST_BYTES // net_bytes))
        job: list[Any] = []
        for cell in remaining:
            job += [(row["run_id"], row["step"]) for row in cell]
            if len(job) >= size:
                jobs.append(job)
                job = []
        if job:
            jobs.append(job)
    return jobs


class Speed:
    """Seconds per gradient of one network on one sample, measured once per architecture."""

    def __init__(self, data: Data, device: torch.device) -> None:
        self._data, self._device = data, device
        self._known: dict[Architecture, float] = {}

    def seconds(self, run: Run) -> float:
        """Return the time of one gradient in a stack such as training would use."""
        network = build_architecture(dict(run.architecture))
        if network not in self._known:
            self._known[network] = self._measured(run, network)
        return self._known[network]

    def _measured(self, run: Run, network: Architecture) -> float:
        from zoo.engine.stack import Stack

        train_view = view(run, self._data, "train")
        timed = replace(run, batch_size=min(32, len(train_view.index)), init_from=None)
        runs = (timed,) * min(8, best_size(timed, network))
        objective = OBJECTIVES[self._data.task.objective]
        views = [train_view] * len(runs)
        batches = Batches(self._data, runs, views, self._device)
        batch = Batch(*batches.empty(), objective.constants(runs, self._device))
        batches.fill(batch.x, batch.y)
        start = initial_weights(Stack(runs), {})
        weights = StackWeights(network.layout, start, self._device)
        gradient = BatchGradient(network, objective, weights, batch)
        gradient()
        times = []
        for _ in range(3):
            began = time.perf_counter()
            gradient()
            times.append(time.perf_counter() - began)
        return float(np.median(times)) / (len(runs) * timed.batch_size)


def whole_cells(rows: Sequence[Row], all_rows: Sequence[Row]) -> list[Row]:
    """Return all checkpoints of the cells and steps that occur in ``rows``.

    Seeds are compared with all other seeds of their cell, including those that a condition
    leaves out. Otherwise the values would depend on the order in which parts of a zoo were
    measured.
    """
    touched = {cell_of(row) for row in rows}
    return [row for row in all_rows if cell_of(row) in touched]


def whole_runs(rows: Sequence[Row], all_rows: Sequence[Row]) -> list[Row]:
    """Return all checkpoints of the runs that occur in ``rows``."""
    touched = {row["run_id"] for row in rows}
    return [row for row in all_rows if row["run_id"] in touched]


def plan_measures(
    rows: Sequence[Row],
    all_rows: Sequence[Row],
    request: MeasureRequest,
    data: Data,
    workers: int,
    device: torch.device,
) -> dict[str, Any]:
    """Return the jobs of all metrics and their estimated seconds, as JSON values.

    Parameters
    ----------
    rows : sequence of dict
        Selected rows of ``models``.
    all_rows : sequence of dict
        All rows of the zoo.
    request : MeasureRequest
        Request with the metrics to measure.
    data : Data
        Data of the task.
    workers : int
        Number of worker processes.
    device : torch.device
        Device on which the speed is measured.

    Raises
    ------
    CatalogError
        If the settings of a metric do not fit a network.
    """
    speed, plan = Speed(data, device), []
    known_of, seconds_of = {}, {}
    selected = {(row["run_id"], row["step"]) for row in rows}
    for metric in request.metric_of().values():
        metric_rows = whole_cells(rows, all_rows) if metric.paired else rows
        metric_rows = whole_runs(rows, all_rows) if metric.along else metric_rows
        row_of = {(row["run_id"], row["step"]): row for row in metric_rows}
        wanted = settings_id(metric, request.provenance(metric, data))
        known = set() if request.again else known_keys(metric, metric_rows, wanted)
        jobs = jobs_of(metric, metric_rows, known, workers)
        seconds_of[metric.name] = 0.0
        for keys in jobs:
            job_rows = [row_of[key] for key in keys]
            for row in {cell_of(row): row for row in job_rows}.values():
                metric.check(run_of(row, request.task, request.architecture), data.task)
            cells: dict[str, int] = {}
            for row in job_rows:
                cells[cell_of(row)] = cells.get(cell_of(row), 0) + 1
            pairs = sum(len(pairing(n)) for n in cells.values())
            run = run_of(job_rows[0], request.task, request.architecture)
            passes = metric.passes(len(job_rows), pairs, data.samples("train"))
            cost = passes * speed.seconds(run)
            seconds_of[metric.name] += cost
            plan.append({"metric": metric.name, "keys": keys, "seconds": cost})
        remaining = {key for keys in jobs for key in keys}
        known_of[metric.name] = len(selected - remaining)
    plan.sort(key=lambda job: -job["seconds"])
    return {
        "checkpoints": len(rows),
        "known": known_of,
        "seconds": seconds_of,
        "jobs": plan,
    }
