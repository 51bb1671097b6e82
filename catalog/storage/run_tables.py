"""Checks of the tables of runs, checkpoints and tombstones before they are written."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog import schema
from catalog.errors import CatalogError, LayoutMismatch
from catalog.layout import Layout
from catalog.storage.splits import split

Weights = tuple[Layout, pa.Table]
"""Layout of a population, and a table with ``run_id`` and ``step`` of its rows."""


def checked_tables(
    runs: pa.Table, checkpoints: pa.Table, weights: Weights | None
) -> tuple[pa.Table, pa.Table]:
    """Return both tables in the types of the schema, with the three splits filled in.

    Raises
    ------
    CatalogError
        If a column is wrong or missing, or a run or checkpoint is listed twice.
    LayoutMismatch
        If row i of the checkpoints is not row i of the weights.
    """
    runs = schema.conform(runs, "runs", ("run_id", "zoo", "source"))
    checkpoints = schema.conform(checkpoints, "checkpoints", ("run_id", "step"))
    run_columns = {name.lower() for name in runs.column_names} - {"run_id"}
    shared = {name for name in checkpoints.column_names if name.lower() in run_columns}
    if shared:
        raise CatalogError(
            f"Columns {sorted(shared)} are in runs and in checkpoints. models joins these "
            "tables, so only one of them may have a column of that name."
        )
    if pc.count_distinct(runs["run_id"]).as_py() != len(runs):
        raise CatalogError("Two rows of runs have the same run_id.")
    unmatched = set(checkpoints["run_id"].to_pylist()) ^ set(runs["run_id"].to_pylist())
    if unmatched:
        raise CatalogError(
            f"Runs and checkpoints must have the same run_ids, but {len(unmatched)} are in "
            f"one of the tables only, e.g. {min(unmatched)!r}."
        )
    keys = checkpoints.select(["run_id", "step"])
    if len(keys.group_by(["run_id", "step"]).aggregate([])) != len(keys):
        raise CatalogError("Two rows of checkpoints have the same (run_id, step).")
    if weights is not None and not len(weights[0]):
        raise LayoutMismatch(
            "The population has no tensors. To commit metrics alone: population=None"
        )
    if weights is not None and not (
        weights[1]["run_id"].to_pylist() == keys["run_id"].to_pylist()
        and weights[1]["step"].to_pylist() == keys["step"].to_pylist()
    ):
        raise LayoutMismatch("Row i of checkpoints must be network i of the population.")
    ids, zoos = runs["run_id"].to_pylist(), runs["zoo"].to_pylist()
    cells = runs["cell"].to_pylist()
    split_keys = {
        "split_by_run": ids,
        "split_by_cell": [
            f"{z}\0{c or i}" for z, c, i in zip(zoos, cells, ids, strict=True)
        ],
        "split_by_zoo": zoos,
    }
    for name, keys_of in split_keys.items():
        current = runs[name].to_pylist()
        values = [g or split(k) for g, k in zip(current, keys_of, strict=True)]
        runs = filled(runs, name, values)
    return runs, checkpoints


def filled(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    """Return the table with new values in a column of the schema."""
    position = table.column_names.index(name)
    return table.set_column(position, name, pa.array(values, table.schema.field(name).type))


def tombstone_table(table: pa.Table) -> pa.Table:
    """Return the keys of removed checkpoints in the types of the schema.

    Raises
    ------
    CatalogError
        If the table has no rows, further columns of checkpoints, or a missing key.
    """
    columns = [column for column in schema.CHECKPOINTS if column.name in table.column_names]
    fields = {c.name: schema.cast(table[c.name], c, "tombstones") for c in columns}
    nulls = sum(values.null_count for values in fields.values())
    if set(fields) != {"run_id", "step"} or not len(table) or nulls:
        raise CatalogError(
            "Tombstones need at least one row, and a run_id and a step in every row. "
            f"Got {len(table)} rows of {', '.join(table.column_names)}, {nulls} nulls."
        )
    return pa.table(fields)
