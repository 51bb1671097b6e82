"""Overview of one checkpoint: metrics, tensors and histograms of their values."""

from __future__ import annotations

from typing import Any

import numpy as np

from catalog.catalog import Catalog
from catalog.console.pasting import word
from catalog.dtypes import Array, dtype, widen
from catalog.errors import NotFound
from catalog.layout import Layout
from catalog.quoting import literal
from catalog.rows import Rows, rows_of
from catalog.show.histogram import Histogram, histogram
from catalog.show.run import described

_STATS = ("mean", "std", "min", "max", "l2", "nonfinite")


def describe_checkpoint(catalog: Catalog, run_id: str, step: str) -> dict[str, Any]:
    """Return a document about a checkpoint.

    Parameters
    ----------
    catalog : Catalog
        Catalogue that holds the checkpoint.
    run_id : str
        Run of the checkpoint.
    step : str
        Number of optimiser steps taken, in digits.

    Returns
    -------
    dict
        ``run`` and ``checkpoint``: columns that are not null; ``tensors``: a row each,
        with the recorded moments; ``all_parameters``: histogram of all parameters
        together; ``histograms``: one per tensor. The last three are empty if the
        checkpoint has no weights.

    Raises
    ------
    NotFound
        If the run has no checkpoint at that step.
    """
    all_rows = rows_of(catalog, "FROM models WHERE run_id = :run ORDER BY step", run=run_id)
    rows = [row for row in all_rows if str(row["step"]) == step]
    if not rows:
        steps = ", ".join(str(row["step"]) for row in all_rows)
        example = f"{run_id}@{all_rows[-1]['step']}"
        raise NotFound(
            f"Run {run_id} has no checkpoint at step {step!r}; its steps: {steps}. "
            f"For example: phasezoo show {word(example)}"
        )
    names = {row["column_name"] for row in described(catalog, "runs")}
    run_columns = names - {"run_id"}
    facts = {k: v for k, v in rows[0].items() if v is not None}
    document: dict[str, Any] = {
        "kind": "checkpoint",
        "id": f"{run_id}@{step}",
        "run": {k: v for k, v in facts.items() if k in run_columns - {"parents", "config"}},
        "checkpoint": {k: v for k, v in facts.items() if k not in run_columns},
        "tensors": [],
        "all_parameters": histogram(np.empty(0)),
        "histograms": {},
    }
    if rows[0]["row"] is None:
        return document
    layout = catalog.layout(rows[0]["arch_id"])
    tensors = catalog.select(f"run_id = {literal(run_id)} AND step = {step}")[0]
    numbers = {name: real(values, layout[name].dtype) for name, values in tensors.items()}
    document["tensors"] = _tensor_rows(catalog, rows[0]["shard"], rows[0]["row"], layout)
    document["histograms"] = {
        name: histogram(values) for name, values in numbers.items() if values is not None
    }
    document["all_parameters"] = _parameter_histogram(numbers, layout)
    return document


def real(values: Array, name: str) -> Array | None:
    """Convert stored values to real numbers for a histogram; None for complex values."""
    if dtype(name).storage.kind == "c":
        return None
    return widen(values, name) if name == "bfloat16" else values


def _parameter_histogram(numbers: dict[str, Array | None], layout: Layout) -> Histogram:
    parts = [
        values.reshape(-1).astype(np.float64)
        for name, values in numbers.items()
        if values is not None and layout[name].role == "parameter"
    ]
    return histogram(np.concatenate(parts) if parts else np.empty(0), 16)


def _tensor_rows(catalog: Catalog, shard: str, row: int, layout: Layout) -> Rows:
    """Tensors of the layout with their recorded moments at one row of a shard."""
    query = (
        f"SELECT tensor, {', '.join(_STATS)} FROM tensor_stats "
        "WHERE shard = :shard AND row = :row"
    )
    records = rows_of(catalog, query, shard=shard, row=row)
    stats = {record["tensor"]: record for record in records}
    return [
        {
            "tensor": param.name,
            "shape": "x".join(map(str, param.shape)) or "()",
            "dtype": param.dtype,
            "role": param.role,
            "size": param.size,
            **{key: stats.get(param.name, {}).get(key) for key in _STATS},
        }
        for param in layout
    ]
