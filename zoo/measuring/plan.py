"""What is left to measure of a zoo, in jobs, with their cost."""

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
from zoo.metric import Metric
from zoo.networks import compared, pairing
from zoo.objective import Batch
from zoo.objectives import OBJECTIVES
from zoo.run import Run
from zoo.samples import Batches, view
from zoo.stored import cell_of, run_of
from zoo.task import Data

JOBS = 8
"""Jobs per worker, metric and architecture: what an interruption can cost."""

FEWEST = 32
"""Checkpoints of a job, where there are so many and they fit: stacks should be deep."""

MOST_BYTES = 64 << 20
"""Weights of a job at most, unless a single cell has more."""

Row = dict[str, Any]


def selected_rows(catalog: Catalog, zoo: str, where: str, steps: str) -> list[Row]:
    """Rows of ``models`` with weights, in an order that does not depend on ``where``.

    Raises
    ------
    NotFound
        If the zoo has none that match.
    """
    last = "QUALIFY step = max(step) OVER (PARTITION BY run_id)" if steps == "last" else ""
    query = f"""SELECT * FROM ({catalog.matching(where)}) WHERE zoo = {literal(zoo)}
        AND "row" IS NOT NULL {last} ORDER BY step, run_id"""
    rows: list[Row] = arrow_table(catalog.sql(query)).to_pylist()
    if not rows:
        zoos = [r[0] for r in catalog.sql("SELECT DISTINCT zoo FROM runs").fetchall()]
        if zoo not in zoos:
            raise NotFound(f"No zoo {zoo!r} in {catalog.root}. {closest(zoo, zoos)}")
        raise NotFound(f"No checkpoint of {zoo!r} with weights matches: {where}")
    return rows


def settings_column(metric: Metric) -> str:
    """Column that says which settings gave a metric's newest values."""
    return f"{metric.name}_settings"


def settings_id(metric: Metric, provenance: Mapping[str, Any]) -> str:
    """What stands there: the id that `Writer.commit_measures` gives such results."""
    return content_id([metric.name, dict(provenance)], 16)


def known_keys(metric: Metric, rows: Sequence[Row], own: str) -> set[Any]:
    """Checkpoints whose newest values come from these settings, whatever came out."""
    column = settings_column(metric)
    return {(row["run_id"], row["step"]) for row in rows if row.get(column) == own}


def measuring_groups(metric: Metric, rows: Sequence[Row]) -> dict[str, list[list[Row]]]:
    """By architecture, what belongs together: cells, or parts of large ones."""
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
    """Lists of keys that are measured together: of one architecture, in whole cells."""
    jobs = []
    for cells in measuring_groups(metric, rows).values():
        left = [
            cell
            for cell in cells
            if any((row["run_id"], row["step"]) not in known for row in cell)
        ]
        total = sum(len(cell) for cell in left)
        each = 4 * int(cells[0][0]["parameters"] or 1)
        size = max(-(-total // (JOBS * workers)), min(total, FEWEST))
        size = max(1, min(size, MOST_BYTES // each))
        job: list[Any] = []
        for cell in left:
            job += [(row["run_id"], row["step"]) for row in cell]
            if len(job) >= size:
                jobs.append(job)
                job = []
        if job:
            jobs.append(job)
    return jobs


class Speed:
    """Seconds per gradient of one network on one sample, measured once a network."""

    def __init__(self, data: Data, device: torch.device) -> None:
        self._data, self._device = data, device
        self._known: dict[Architecture, float] = {}

    def seconds(self, run: Run) -> float:
        """Time of one gradient; of a stack as training would use it."""
        network = build_architecture(dict(run.architecture))
        if network not in self._known:
            self._known[network] = self._measured(run, network)
        return self._known[network]

    def _measured(self, run: Run, network: Architecture) -> float:
        from zoo.engine.stack import Stack

        seen = view(run, self._data, "train")
        own = replace(run, batch_size=min(32, len(seen.index)), init_from=None)
        runs = (own,) * min(8, best_size(own, network))
        objective = OBJECTIVES[self._data.task.objective]
        views = [seen] * len(runs)
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
        return float(np.median(times)) / (len(runs) * own.batch_size)


def whole_cells(rows: Sequence[Row], all_rows: Sequence[Row]) -> list[Row]:
    """All checkpoints of the cells and steps that rows touch.

    Seeds are compared with all others, also those that a condition leaves out: otherwise
    what a pair says would depend on the order in which parts were measured.
    """
    touched = {cell_of(row) for row in rows}
    return [row for row in all_rows if cell_of(row) in touched]


def whole_runs(rows: Sequence[Row], all_rows: Sequence[Row]) -> list[Row]:
    """All checkpoints of the runs that rows touch."""
    touched = {row["run_id"] for row in rows}
    return [row for row in all_rows if row["run_id"] in touched]


def plan_measures(
    rows: Sequence[Row],
    all_rows: Sequence[Row],
    metrics: Sequence[Metric],
    data: Data,
    setup: Mapping[str, Any],
    device: torch.device,
) -> dict[str, Any]:
    """Jobs of all metrics with their estimated seconds, as JSON values."""
    speed, plan = Speed(data, device), []
    known_of, seconds_of = {}, {}
    chosen = {(row["run_id"], row["step"]) for row in rows}
    for metric in metrics:
        own_rows = whole_cells(rows, all_rows) if metric.paired else rows
        own_rows = whole_runs(rows, all_rows) if metric.along else own_rows
        of_key = {(row["run_id"], row["step"]): row for row in own_rows}
        own_id = settings_id(metric, provenance_of(metric, setup["seed"], data))
        known = set() if setup["again"] else known_keys(metric, own_rows, own_id)
        jobs = jobs_of(metric, own_rows, known, setup["workers"])
        seconds_of[metric.name] = 0.0
        for keys in jobs:
            own = [of_key[key] for key in keys]
            for row in {cell_of(row): row for row in own}.values():
                metric.check(run_of(row, setup["task"], setup["architecture"]), data.task)
            cells: dict[str, int] = {}
            for row in own:
                cells[cell_of(row)] = cells.get(cell_of(row), 0) + 1
            pairs = sum(len(pairing(n)) for n in cells.values())
            run = run_of(own[0], setup["task"], setup["architecture"])
            passes = metric.passes(len(own), pairs, data.samples("train"))
            cost = passes * speed.seconds(run)
            seconds_of[metric.name] += cost
            plan.append({"metric": metric.name, "keys": keys, "seconds": cost})
        left = {key for keys in jobs for key in keys}
        known_of[metric.name] = len(chosen - left)
    plan.sort(key=lambda job: -job["seconds"])
    return {
        "checkpoints": len(rows),
        "known": known_of,
        "seconds": seconds_of,
        "jobs": plan,
    }


def provenance_of(metric: Metric, seed: int, data: Data) -> dict[str, Any]:
    """What decides a metric's values beside the checkpoint."""
    return {**metric.provenance(), "seed": seed, "data": data.fingerprint}
