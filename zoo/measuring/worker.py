"""Measuring process, which takes jobs as JSON lines and commits its own shards of measures.

`zoo.measuring.measure` runs the module as ``python -m zoo.measuring.worker``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from catalog import CatalogError, Writer
from catalog import open as open_catalog
from catalog.console.pasting import word
from catalog.dtypes import Array
from catalog.quoting import literal
from catalog.version import __version__
from zoo.engine.descent import Stopped
from zoo.measuring.given import check_recorded
from zoo.measuring.plan import (
    plan_measures,
    selected_rows,
    settings_column,
    settings_id,
)
from zoo.measuring.request import MeasureRequest
from zoo.merging.derived import Shard, store_shard
from zoo.metric import Maker, Metric
from zoo.networks import Networks
from zoo.stored import networks, recorded_run, run_of
from zoo.task import load_task
from zoo.tasks import TASKS
from zoo.workers.process import tune_process
from zoo.workers.serving import Line, StopRequest, chosen_device, serve_parent


def measured_table(metric: Metric, found: Mapping[str, Array], nets: Networks) -> pa.Table:
    """Return the results of a metric as a table of measures; NaN becomes null.

    Raises
    ------
    CatalogError
        If the results lack columns of the metric or have others.
    """
    if different := {c.name for c in metric.columns} ^ set(found):
        raise CatalogError(
            f"Metric {metric.name!r}: its results and its columns differ by "
            f"{sorted(different)}."
        )
    columns: dict[str, Any] = {}
    for column in metric.columns:
        values = found[column.name]
        null = [v is None or v != v for v in values.tolist()]
        columns[column.name] = pa.array(
            [
                None if missing else v
                for missing, v in zip(null, values.tolist(), strict=True)
            ],
            column.type,
        )
    return pa.table(columns)


def _serve(setup: dict[str, Any], jobs: TextIO, line: Line) -> None:
    """Plan if this worker leads, then measure jobs and commit their results."""
    stop = StopRequest()
    request = MeasureRequest.from_json(setup["request"])
    device = chosen_device(request.device)
    tune_process(setup["threads"])
    store = open_catalog(request.catalog)
    metric_of = request.metric_of()
    rows = selected_rows(store, request.zoo, request.where, request.steps)
    notes: list[str] = []
    if request.task or request.architecture:
        recorded = [recorded_run(row) for row in rows]
        notes = check_recorded(rows, recorded, request.task, request.architecture)
    tasks = {run_of(row, request.task, request.architecture).task for row in rows}
    if len(tasks) > 1:
        raise CatalogError(
            f"The selected runs have {len(tasks)} tasks ({', '.join(sorted(tasks))}). "
            "Measure one task at a time: --where "
            f"{word(f'task_name = {literal(min(tasks))}')}"
        )
    data = load_task(TASKS[tasks.pop()], request.data_path)
    if setup["leads"]:
        all_rows = selected_rows(store, request.zoo, "true", "all")
        plan = plan_measures(rows, all_rows, request, data, setup["workers"], device)
        line.send(plan=plan | {"notes": notes})
    line.send(ready=True)
    first = jobs.readline()
    if not first:
        return
    with Writer(Path(request.catalog)) as writer:
        for text in itertools.chain([first], jobs):
            job = json.loads(text)
            metric = metric_of[job["metric"]]
            keys = [(run, step) for run, step in job["keys"]]
            nets = networks(
                store,
                keys,
                data,
                device,
                task=request.task,
                architecture=request.architecture,
                folder=request.data_path,
            )
            reported = 0.0

            def progress(share: float, job: Mapping[str, Any] = job) -> None:
                nonlocal reported
                if stop.made:
                    raise Stopped
                line.send(share=(share - reported) * job["seconds"])
                reported = share

            shards: list[Shard] = []
            try:
                if isinstance(metric, Maker):
                    values, shards = metric.make(nets, seed=request.seed, progress=progress)
                else:
                    values = metric.measure(nets, seed=request.seed, progress=progress)
            except Stopped:
                break
            table = measured_table(metric, values, nets)
            table = table.add_column(0, "run_id", pa.array([k[0] for k in keys]))
            table = table.add_column(1, "step", pa.array([k[1] for k in keys], pa.int64()))
            provenance = request.provenance(metric, data)
            ids = pa.array([settings_id(metric, provenance)] * len(keys))
            table = table.append_column(settings_column(metric), ids)
            # The version of phasezoo is recorded but does not make older values stale: a
            # change that changes values raises the version of the metric.
            made_by = {**provenance, "phasezoo": __version__}
            for shard in shards:  # before the measures, which imply that networks exist
                store_shard(writer, shard, metric.name, made_by)
            writer.commit_measures(table, metric.name, made_by)
            progress(1.0)
            line.send(done=True, metric=metric.name, networks=len(keys))


if __name__ == "__main__":
    serve_parent(_serve)
