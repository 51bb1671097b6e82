"""Checkpoints with finite weights that a condition selects, in a fixed order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.catalog import Catalog, arrow_table
from catalog.dtypes import Array
from catalog.errors import CatalogError, NotFound

COLUMNS = (
    "run_id", "step", "zoo", "cell", "content", "split_by_run", "split_by_cell", "arch_id",
    "shard", "row",
)  # fmt: skip
"""Columns of `models` that `rows` returns: keys, groups, architecture, place of storage."""


def rows(
    catalog: Catalog, where: str, steps: str, expressions: Mapping[str, str] | None = None
) -> tuple[pa.Table, dict[str, int]]:
    """Select checkpoints with finite weights, in a fixed order, and count the others.

    Parameters
    ----------
    catalog : Catalog
        Catalogue to select from.
    where : str
        SQL condition on `models`; ORDER BY and LIMIT may follow.
    steps : {"last", "all"}
        Checkpoints to use of each run: the last selected one, or all.
    expressions : mapping of str to str, optional
        SQL expressions of further columns, by the name of the column.

    Returns
    -------
    table : pyarrow.Table
        The columns `COLUMNS` and those of the expressions.
    left_out : dict of str to int
        Number of selected checkpoints that are not in the table, by reason.

    Raises
    ------
    CatalogError
        If the condition or an expression is not valid SQL, or no checkpoint is left.
    """
    last = steps_sql(steps)
    columns = ", ".join(f'"{name}"' for name in (*COLUMNS, "finite"))
    further = "".join(
        f", {catalog.expression(sql)} AS {name}"
        for name, sql in (expressions or {}).items()
    )
    table = arrow_table(
        catalog.sql(
            f"SELECT {columns}{further} FROM ({catalog.matching(where)}) models {last} "
            "ORDER BY zoo, run_id, step"
        )
    )
    if not len(table):
        raise NotFound(
            f"No checkpoint matches {where!r}. The zoos: phasezoo sql "
            '"SELECT zoo, count(*) FROM models GROUP BY zoo"'
        )
    weights = pc.is_valid(table["row"])
    finite = pc.or_(pc.fill_null(table["finite"], True), pc.invert(weights))
    left_out = {}
    for reason, good in (("no weights", weights), ("weights not finite", finite)):
        if bad := len(table) - (pc.sum(good).as_py() or 0):
            left_out[reason] = bad
    table = table.filter(pc.and_(weights, finite))
    if not len(table):
        raise CatalogError(
            f"None of the selected checkpoints has finite weights: {left_out}. Train or "
            "import networks, or widen --where."
        )
    return table.drop_columns(["finite"]), left_out


def steps_sql(steps: str) -> str:
    """Return the end of a query that keeps the checkpoints to use of each selected run.

    Parameters
    ----------
    steps : {"last", "all"}
        The last selected checkpoint of each run, or all.

    Raises
    ------
    CatalogError
        If it is another word.
    """
    if steps not in ("all", "last"):
        raise CatalogError(f"--steps must be all or last. Got {steps!r}.")
    return "QUALIFY step = max(step) OVER (PARTITION BY run_id)" if steps == "last" else ""


def layouts(table: pa.Table) -> dict[str, Array]:
    """Return the row numbers of each ``arch_id`` of a table."""
    ids = np.array(table["arch_id"].to_pylist())
    return {str(arch): np.flatnonzero(ids == arch) for arch in np.unique(ids)}
