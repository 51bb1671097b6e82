"""Stored checkpoints as networks that can be measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from catalog import CatalogError, LayoutMismatch, Population
from catalog.catalog import Catalog
from catalog.fitted.unexpected_content import as_written
from catalog.storage.json_column import json_object
from zoo.architecture import Architecture
from zoo.engine.stack import build_architecture
from zoo.networks import Networks
from zoo.run import Run
from zoo.task import Data

Key = tuple[str, int]
"""run_id and step."""


def run_of(row: Mapping[str, Any], task: str | None, architecture: str | None) -> Run:
    """The configuration of a stored run.

    That of a run trained here is stored. Of others only what matters for measuring is
    made: the task, the network and the seed.

    Parameters
    ----------
    row : mapping
        A row of ``models``.
    task, architecture : str, optional
        For runs that do not say: name of the task, JSON of the architecture.

    Raises
    ------
    CatalogError
        If the task or the architecture of the run is not known.
    """
    own = f"The config of run {row['run_id']!r}"
    config = json_object(row["config"], own) if row.get("config") else {}
    config = config.get("run", config)  # of what was made from others
    with as_written(own, "a configuration", "Train or import that run again."):
        if {"zoo", "task", "architecture", "steps"} <= set(config):
            return Run.from_config(config)
    name = task or row.get("task_name")
    network = architecture or row.get("architecture")
    if not name or not network:
        lacking = "--task NAME" if not name else "--architecture JSON"
        raise CatalogError(
            f"Run {row['run_id']!r} of zoo {row['zoo']!r} does not say what it "
            f"{'was trained on' if not name else 'computes'}. Say it for all that is "
            f"measured: {lacking}, e.g. --task digits --architecture "
            '\'{"name": "mlp", "sizes": [64, 32, 10], "activation": "relu"}\''
        )
    step, seed = int(row["step"]), row.get("seed")
    stated = {key: row[key] for key in _STATED if row.get(key) is not None}
    return Run(
        row["zoo"],
        name,
        json_object(network, f"The architecture of run {row['run_id']!r}"),
        step,
        (step,),
        # Runs without a seed are told apart all the same: draws of pairs are named so.
        seed=int(row["run_id"][:8], 16) if seed is None else int(seed),
        cell=row.get("cell") or "",
        **stated,
    )


_STATED = ("optimizer", "batch_size", "weight_decay", "beta")
"""Columns that say how others trained, where they are known."""


def cell_of(row: Mapping[str, Any]) -> str:
    """What the seeds of a cell share at one step; a run without a cell is alone."""
    return json.dumps([row["zoo"], row.get("cell") or row["run_id"], row["step"]])


def networks(
    catalog: Catalog,
    keys: Sequence[Key],
    data: Data,
    device: torch.device,
    *,
    task: str | None = None,
    architecture: str | None = None,
    folder: Path | None = None,
) -> Networks:
    """Load checkpoints of one layout, in the order of the keys.

    Raises
    ------
    LayoutMismatch
        If their tensors are not those of their architecture.
    CatalogError
        If they were trained on other data.
    """
    names, steps = zip(*keys, strict=True)
    wanted = pa.table({"run_id": pa.array(names, pa.string()), "step": steps})
    population = catalog.select(wanted).population()
    rows = population.table.to_pylist()
    runs = tuple(run_of(row, task, architecture) for row in rows)
    for row in rows:
        known = row.get("data_fingerprint")
        if known and known != data.fingerprint:
            raise CatalogError(
                f"Run {row['run_id']!r} was trained on other {data.task.title} data "
                f"(fingerprint {known[:8]}, here {data.fingerprint[:8]}). Give the same "
                "files: --data DIR or --text FILE"
            )
    network = build_architecture(dict(runs[0].architecture))
    _check_layout(population, network)
    return Networks(
        network,
        data,
        runs,
        tuple(row["step"] for row in rows),
        tuple(cell_of(row) for row in rows),
        population.weights,
        device,
        population.table,
        folder,
    )


def _check_layout(population: Population, network: Architecture) -> None:
    wanted = [(p.name, p.shape, p.role) for p in network.layout if p.in_vector]
    found = [(p.name, p.shape, p.role) for p in population.layout if p.in_vector]
    if wanted != found:
        other = next(
            (pair for pair in zip(wanted, found, strict=False) if pair[0] != pair[1]),
            (len(wanted), len(found)),
        )
        raise LayoutMismatch(
            f"The stored tensors are not those of {network.name}: expected {other[0]}, "
            f"found {other[1]}."
        )
