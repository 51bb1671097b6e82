"""Loading of stored checkpoints as networks that can be measured."""

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
    """Return the configuration of a stored run.

    The configuration of a run that phasezoo trained is stored. For other runs, a
    configuration is made that holds what measuring needs: the task, the network, the seed
    and the settings that the row states.

    Parameters
    ----------
    row : mapping
        A row of ``models``.
    task, architecture : str, optional
        Name of the task and JSON of the architecture, for runs that do not record a
        configuration.

    Raises
    ------
    CatalogError
        If the task or the architecture of the run is not known.
    """
    recorded = recorded_run(row)
    if recorded is not None:
        return recorded
    name = task or row.get("task_name")
    network = architecture or row.get("architecture")
    if not name or not network:
        option = "--task NAME" if not name else "--architecture JSON"
        raise CatalogError(
            f"Run {row['run_id']!r} of zoo {row['zoo']!r} does not record its "
            f"{'task' if not name else 'architecture'}. Give it with {option}, for all "
            "selected runs that lack it, e.g. --task digits --architecture "
            '\'{"name": "mlp", "sizes": [64, 32, 10], "activation": "relu"}\''
        )
    step, seed = int(row["step"]), row.get("seed")
    stated = {key: row[key] for key in _STATED if row.get(key) is not None}
    return Run(
        row["zoo"],
        name,
        json_object(
            network,
            "--architecture"
            if architecture
            else f"The architecture of run {row['run_id']!r}",
        ),
        step,
        (step,),
        # Runs without a seed still need different ones: seeds name the draws of pairs.
        seed=int(row["run_id"][:8], 16) if seed is None else int(seed),
        cell=row.get("cell") or "",
        **stated,
    )


def recorded_run(row: Mapping[str, Any]) -> Run | None:
    """Return the stored configuration of a run, or None if it records none.

    Raises
    ------
    CatalogError
        If the stored text is not a configuration.
    """
    label = f"The config of run {row['run_id']!r}"
    config = json_object(row["config"], label) if row.get("config") else {}
    config = config.get("run", config)  # derived networks nest the run's configuration
    with as_written(label, "a configuration", "Train or import that run again."):
        if {"zoo", "task", "architecture", "steps"} <= set(config):
            return Run.from_config(config)
    return None


_STATED = ("optimizer", "batch_size", "weight_decay", "beta")
"""Columns with settings of imported runs, where they are known."""


def cell_of(row: Mapping[str, Any]) -> str:
    """Return the key that the seeds of a cell share at one step.

    A run without a cell has a key of its own.
    """
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
        If the tensors of the checkpoints do not match their architecture.
    CatalogError
        If the checkpoints were trained on other data.
    """
    names, steps = zip(*keys, strict=True)
    wanted = pa.table({"run_id": pa.array(names, pa.string()), "step": steps})
    population = catalog.select(wanted).population()
    rows = population.table.to_pylist()
    runs = tuple(run_of(row, task, architecture) for row in rows)
    for row in rows:
        fingerprint = row.get("data_fingerprint")
        if fingerprint and fingerprint != data.fingerprint:
            raise CatalogError(
                f"Run {row['run_id']!r} was trained on other {data.task.title} data: its "
                f"fingerprint is {fingerprint[:8]}, that of the data here is "
                f"{data.fingerprint[:8]}. Give the same files: --data DIR or --text FILE"
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
    """Raise `LayoutMismatch` unless the stored tensors are those of the architecture."""
    expected = [(p.name, p.shape, p.role) for p in network.layout if p.in_vector]
    stored = [(p.name, p.shape, p.role) for p in population.layout if p.in_vector]
    if expected != stored:
        difference = next(
            (pair for pair in zip(expected, stored, strict=False) if pair[0] != pair[1]),
            (len(expected), len(stored)),
        )
        raise LayoutMismatch(
            f"The stored tensors are not those of {network.name}: expected "
            f"{difference[0]}, found {difference[1]}."
        )
