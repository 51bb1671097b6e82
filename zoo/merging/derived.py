"""Storage of networks made from other networks, as runs with their parents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from catalog import Population, Writer, __version__
from catalog.alignment.average import AVERAGES, INHERITED, inherited
from catalog.dtypes import Array
from catalog.names import canonical_json, content_id
from catalog.schema import PARENTS, RUNS
from zoo.merging.made_weights import Group, SampleErrors
from zoo.networks import Networks, sample_key
from zoo.run import Run

_OWN = {"arch_id"}
"""Columns that averages of `catalog.average` inherit, but stored networks do not."""


@dataclass(frozen=True)
class Shard:
    """Derived networks, ready to be stored.

    Attributes
    ----------
    runs, checkpoints : pyarrow.Table
        Tables for `catalog.Writer.commit`.
    population : Population
        Weights of the networks.
    architecture : str
        Configuration of the architecture as JSON.
    measures : pyarrow.Table or None
        Measures of the networks besides their scores.
    """

    runs: pa.Table
    checkpoints: pa.Table
    population: Population
    architecture: str
    measures: pa.Table | None = None


def store_shard(
    writer: Writer, shard: Shard, name: str, provenance: dict[str, Any]
) -> None:
    """Commit derived networks, then their measures."""
    writer.commit(shard.runs, shard.checkpoints, shard.population, shard.architecture)
    if shard.measures is not None:
        writer.commit_measures(shard.measures, name, provenance)


def judged_splits(networks: Networks) -> list[str]:
    """Return the splits on which derived networks are judged: all if they are stored."""
    return ["test"] if networks.table is None else ["train", "validation", "test"]


def derived_shard(
    networks: Networks,
    operation: str,
    settings: Mapping[str, Any],
    groups: Sequence[Group],
    weights: Array,
    judged: Mapping[str, SampleErrors],
    measures: Mapping[str, Array],
    *,
    seed: int,
    ending: str = AVERAGES,
    among: Sequence[Group] | None = None,
) -> list[Shard]:
    """Return the networks of one operation as a shard, or none without a catalogue.

    The run id is a hash of operation, settings, parents and seed. Values that all parents
    share are inherited, including their fixed splits. If the parents are in several
    splits, the split is `catalog.storage.splits.MIXED`, because in any of the parents'
    splits the network would leak information from another.

    Parameters
    ----------
    networks : Networks
        Networks that contain the parents.
    operation : str
        Value of the column ``operation``, e.g. ``"average_seeds aligned"``.
    settings : mapping
        JSON values that determine the result.
    groups : sequence of k rows
        Parents of each derived network.
    weights : ndarray of shape (k, d)
        Weights of the derived networks.
    judged : dict of str to SampleErrors
        Losses and errors by split.
    measures : dict of str to ndarray of shape (k,)
        Further columns.
    seed : int
        Seed of the operation.
    ending : str, default=AVERAGES
        End of the name of the zoo.
    among : sequence of k rows, optional
        Networks that each network was selected from, which are part of its run id
        without being its parents.

    Returns
    -------
    list of Shard
        One shard; empty if the parents are from no catalogue or there is no group.
    """
    if networks.table is None or not len(groups):
        return []
    rows = networks.table.to_pylist()
    layout, records = networks.architecture.layout, []
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for g, group in enumerate(groups):
        parents = [rows[int(i)] for i in group]
        parent_keys = [[p["run_id"], p["step"]] for p in parents]
        config = {
            "operation": operation,
            "settings": dict(settings),
            "parents": parent_keys,
            "seed": seed,
        }
        if among is not None:
            candidates = [rows[int(i)] for i in among[g]]
            config["among"] = [[o["run_id"], o["step"]] for o in candidates]
        run_id = content_id(config)
        step = max(p["step"] for p in parents)
        run = common_run([networks.runs[int(i)] for i in group], step, int(run_id[:8], 16))
        records.append(
            {
                "run_id": run_id,
                "step": step,
                "zoo": f"{parents[0]['zoo']}{ending}",
                "source": "derived",
                "operation": operation,
                "status": "finished",
                "code_version": __version__,
                "engine": f"{networks.device.type}, torch {torch.__version__}",
                "created": now,
                "config": canonical_json({**config, "run": run.config()}),
                "parents": [
                    {"run_id": r, "step": s, "role": operation.split()[0]}
                    for r, s in parent_keys
                ],
                **{
                    name: inherited(name, [parent.get(name) for parent in parents])
                    for name in INHERITED
                    if name not in _OWN
                },
            }
        )
    keys = pa.table(
        {
            "run_id": pa.array([r["run_id"] for r in records]),
            "step": pa.array([r["step"] for r in records], pa.int64()),
        }
    )
    checkpoints = {**_columns(keys), "finite": np.isfinite(weights).all(1)}
    for split, errors in judged.items():
        judges = networks.objective.judges
        value = 1 - errors.error if judges == "accuracy" else errors.error
        for name, values in (("loss", errors.loss), (judges, value)):
            column = pa.array(values, pa.float64(), mask=np.isnan(values))
            checkpoints[f"{split}_{name}"] = column
    columns = {
        name: pa.array(values, pa.float64(), mask=np.isnan(values))
        for name, values in measures.items()
    }
    return [
        Shard(
            _runs(records),
            pa.table(checkpoints),
            Population(np.asarray(weights, np.float32), layout, keys),
            canonical_json(networks.architecture.config()),
            pa.table({**_columns(keys), **columns}) if columns else None,
        )
    ]


def common_run(runs: Sequence[Run], step: int, seed: int) -> Run:
    """Return the run as which a network made from others is measured.

    The run has the samples and labels of the others. If their training samples or labels
    differ, the run has all samples with the true labels.
    """
    first = runs[0]
    changes: dict[str, Any] = {"checkpoints": (step,), "steps": max(first.steps, step)}
    if len({run.seed for run in runs}) > 1:
        changes["seed"] = seed
    for purpose in ("subset", "noise"):
        changes[f"{purpose}_seed"] = first.seed_for(purpose)
    if len({sample_key(run) for run in runs}) > 1:
        changes |= {"train_samples": None, "label_noise": 0.0}
        changes |= {"subset_seed": None, "noise_seed": None}
    return replace(first, init_from=None, **changes)


def _columns(table: pa.Table) -> dict[str, Any]:
    """Return the columns of a table by name."""
    return dict(zip(table.column_names, table.columns, strict=True))


def _runs(records: list[dict[str, Any]]) -> pa.Table:
    """Return records as a table of runs."""
    kinds = {column.name: column.type for column in RUNS} | {"parents": PARENTS}
    names = [name for name in records[0] if name != "step"]
    return pa.table(
        {
            name: pa.array([r[name] for r in records], kinds.get(name, pa.string()))
            for name in names
        }
    )
