"""Conversion of finished stacks to tables and populations, ready to be committed."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from catalog import Population, __version__
from catalog.names import canonical_json
from catalog.schema import PARENTS
from catalog.storage.splits import SPLITS
from catalog.storage.splits import split as fixed_split
from zoo.engine.train_stack import Trained
from zoo.run import Run
from zoo.task import Data, describe_task
from zoo.training.parents import SPLIT_COLUMNS, Parents


def tables(
    trained: Trained, data: Data, engine: str, parents: Parents
) -> tuple[pa.Table, pa.Table, Population, str]:
    """Return the runs, checkpoints, weights and architecture of a stack.

    Children are in the fixed splits of their parents. Checkpoints are ordered by step, so
    that one step of all runs is contiguous.

    Parameters
    ----------
    trained : Trained
        Finished stack.
    data : Data
        Data on which the stack was trained.
    engine : str
        Description of the device and the libraries, for the column ``engine``.
    parents : mapping of (run_id, step) to Parent
        Checkpoints that the runs started from.

    Returns
    -------
    runs : pyarrow.Table
        Rows of `runs`.
    checkpoints : pyarrow.Table
        Rows of `checkpoints`.
    weights : Population
        Weights of the checkpoints, in the order of their rows.
    architecture : str
        Configuration of the architecture as canonical JSON.
    """
    runs = trained.stack.runs
    ids = [run.run_id(data.fingerprint) for run in runs]
    architecture = canonical_json(trained.stack.architecture.config())
    now = datetime.now(UTC).isoformat(timespec="seconds")
    rows = []
    for i, run in enumerate(runs):
        diverged = int(trained.diverged[i])
        rows.append(
            {
                "run_id": ids[i],
                "source": "trained",
                "architecture_name": trained.stack.architecture.name,
                "architecture": architecture,
                "parameters": trained.stack.architecture.layout.d,
                "task_name": run.task,
                "task": canonical_json(_task(run, data)),
                "data_fingerprint": data.fingerprint,
                "train_samples": trained.samples[i],
                "status": "finished" if diverged < 0 else "diverged",
                "diverged_step": None if diverged < 0 else diverged,
                "parents": _parents(run),
                **(parents[run.init_from].splits if run.init_from else _NO_SPLITS),
                "config": canonical_json(run.config()),
                "code_version": __version__,
                "engine": engine,
                "created": now,
                **{name: getattr(run, name) for name in _COPIED},
                **_later(run, data),
            }
        )
    checkpoints = pa.concat_tables(
        [_scores(trained, ids, i) for i in range(len(trained.checkpoints))]
    )
    weights = np.concatenate([c.weights for c in trained.checkpoints])
    layout = trained.stack.architecture.layout
    population = Population(weights, layout, checkpoints.select(["run_id", "step"]))
    schema = pa.schema([("parents", PARENTS)])
    lineage = pa.Table.from_pylist([{"parents": r.pop("parents")} for r in rows], schema)
    table = pa.Table.from_pylist(rows).append_column("parents", lineage["parents"])
    return table, checkpoints, population, architecture


_NO_SPLITS = dict.fromkeys(SPLIT_COLUMNS)  # the writer draws them

_COPIED = (
    "zoo",
    "load_axis",
    "load",
    "temperature_axis",
    "temperature",
    "cell",
    "seed",
    "width",
    "batch_size",
    "optimizer",
    "schedule",
    "lr",
    "momentum",
    "weight_decay",
    "label_noise",
    "init_scale",
    "steps",
)


def _later(run: Run, data: Data) -> dict[str, object]:
    """Return columns that only some runs have.

    One-vs-rest runs have a fixed split by class: all runs of the test split's classes are
    held out, so that zero-shot scores of different people can be compared.
    """
    columns: dict[str, object] = {} if run.beta is None else {"beta": run.beta}
    if run.one_vs_rest is not None:
        names = data.task.class_names
        name = names[run.one_vs_rest] if names else str(run.one_vs_rest)
        columns |= {"class_name": name, "split_by_class": fixed_split(name)}
    return columns if run.augment == "none" else {**columns, "augment": run.augment}


def _task(run: Run, data: Data) -> dict[str, object]:
    """Return the description of a run's task for the column ``task``, as JSON values."""
    value = {
        "name": run.task,
        "classes": run.classes,
        "label_map": run.label_map,
        "transform": run.transform,
        **describe_task(data),
    }
    if run.one_vs_rest is not None:
        value["one_vs_rest"] = run.one_vs_rest
    elif names := data.task.class_names:
        classes = range(data.task.classes) if run.classes is None else run.classes
        value["class_names"] = [names[label] for label in classes]
    plain: dict[str, object] = json.loads(json.dumps(value))
    return plain


def _parents(run: Run) -> list[dict[str, object]]:
    if run.init_from is None:
        return []
    return [{"run_id": run.init_from[0], "step": run.init_from[1], "role": "init"}]


def _scores(trained: Trained, ids: list[str], i: int) -> pa.Table:
    """Return the rows of the i-th checkpoint of all runs."""
    checkpoint, runs = trained.checkpoints[i], trained.stack.runs
    steps_per_epoch = [
        max(samples // run.batch_size, 1)
        for samples, run in zip(trained.samples, runs, strict=True)
    ]
    columns: dict[str, object] = {
        "run_id": ids,
        "step": [checkpoint.step] * len(ids),
        "epoch": [checkpoint.step / per for per in steps_per_epoch],
        "train_evaluated": trained.evaluated,
        "finite": np.isfinite(checkpoint.weights).all(1),
    }
    for split in SPLITS:
        score = checkpoint.scores[split]
        for name, values in (("loss", score.loss), (score.judged_by, score.value)):
            column = pa.array(values, pa.float64(), mask=np.isnan(values))
            columns[f"{split}_{name}"] = column
    return pa.table(columns)
