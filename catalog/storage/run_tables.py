"""Runs and their checkpoints as a shard's metadata: checked before anything is written."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog import schema
from catalog.errors import CatalogError, LayoutMismatch
from catalog.layout import Layout
from catalog.storage.splits import split

Weights = tuple[Layout, pa.Table]
"""Tensors of a population, and the ``run_id`` and ``step`` of its rows."""


def checked_tables(
    runs: pa.Table, checkpoints: pa.Table, weights: Weights | None
) -> tuple[pa.Table, pa.Table]:
    """Both tables in the types of the schema, with the three splits filled in.

    Raises
    ------
    CatalogError
        If a column is wrong or missing, or a run or checkpoint stands twice.
    LayoutMismatch
        If row i of the checkpoints is not row i of the weights.
    """
    runs = schema.conform(runs, "runs", ("run_id", "zoo", "source"))
    checkpoints = schema.conform(checkpoints, "checkpoints", ("run_id", "step"))
    taken = {name.lower() for name in runs.column_names} - {"run_id"}
    both = {name for name in checkpoints.column_names if name.lower() in taken}
    if both:
        raise CatalogError(
            f"Columns {sorted(both)} stand in runs and in checkpoints; models joins "
            "them, so a name may stand in one only."
        )
    if pc.count_distinct(runs["run_id"]).as_py() != len(runs):
        raise CatalogError("Two rows of runs have one run_id.")
    unknown = set(checkpoints["run_id"].to_pylist()) ^ set(runs["run_id"].to_pylist())
    if unknown:
        raise CatalogError(
            f"Runs and checkpoints must have the same run_ids; {len(unknown)} stand in "
            f"one only, e.g. {min(unknown)!r}."
        )
    keys = checkpoints.select(["run_id", "step"])
    if len(keys.group_by(["run_id", "step"]).aggregate([])) != len(keys):
        raise CatalogError("Two rows of checkpoints have one (run_id, step).")
    if weights is not None and not len(weights[0]):
        raise LayoutMismatch(
            "The population has no tensors. Commit its metrics alone: population=None"
        )
    if weights is not None and not (
        weights[1]["run_id"].to_pylist() == keys["run_id"].to_pylist()
        and weights[1]["step"].to_pylist() == keys["step"].to_pylist()
    ):
        raise LayoutMismatch("Row i of checkpoints must be network i of the population.")
    ids, zoos = runs["run_id"].to_pylist(), runs["zoo"].to_pylist()
    cells = runs["cell"].to_pylist()
    fixed = {
        "split_by_run": ids,
        "split_by_cell": [
            f"{z}\0{c or i}" for z, c, i in zip(zoos, cells, ids, strict=True)
        ],
        "split_by_zoo": zoos,
    }
    for name, keys_of in fixed.items():
        given = runs[name].to_pylist()
        values = [g or split(k) for g, k in zip(given, keys_of, strict=True)]
        runs = filled(runs, name, values)
    return runs, checkpoints


def filled(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    """The table with a column of the schema set to values."""
    at = table.column_names.index(name)
    return table.set_column(at, name, pa.array(values, table.schema.field(name).type))
