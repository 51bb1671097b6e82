"""Selection of networks and targets for a probe, checked before weights are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import NotFound
from catalog.catalog import Catalog, arrow_table
from catalog.dtypes import Array
from catalog.errors import CatalogError
from probes.fitting.target_columns import TargetColumns, TargetValues
from probes.judging.folds import COLUMNS

_COLUMNS = (*COLUMNS, "arch_id", "shard", "row", "finite")
_TARGET = "pz_target_"


@dataclass(frozen=True)
class TargetSelection:
    """Selected networks with their targets.

    Attributes
    ----------
    table : pyarrow.Table
        n rows of ``run_id``, ``step``, the place where they are stored and the columns that
        `Folds` reads, in a fixed order.
    values : TargetValues
        Targets of these rows.
    name : str
        Common name of the targets.
    expressions : dict of str to str
        SQL of the targets, see `TargetColumns`.
    left_out : dict of str to int
        Number of selected rows that are not in the table, by reason.
    """

    table: pa.Table = field(repr=False)
    values: TargetValues
    name: str
    expressions: dict[str, str]
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.table)

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        targets: Sequence[str],
        *,
        where: str = "true",
        steps: str = "last",
        task: str = "auto",
    ) -> TargetSelection:
        """Select checkpoints of a catalogue, and read their targets.

        Parameters
        ----------
        targets : sequence of str
            See `TargetColumns.of`.
        where : str
            SQL condition on `models`; ORDER BY and LIMIT may follow.
        steps : {"last", "all"}
            Checkpoints to use of each run: the last selected one, or all.
        task : str
            See `TargetValues.of`.

        Raises
        ------
        CatalogError
            If nothing is selected, if no selected row has a target, or if all rows have
            the same target.
        """
        columns = TargetColumns.of(catalog, targets)
        table, left_out = rows(catalog, where, steps, columns.expressions)
        keys = [f"{_TARGET}{i}" for i in range(len(columns.expressions))]
        target_table = table.select(keys).rename_columns(list(columns.expressions))
        values = TargetValues.of(target_table, list(columns.expressions), task)
        table = table.drop_columns(keys)
        unknown = int((~values.known).sum())
        if unknown:
            left_out[f"no value of {columns.name}"] = unknown
            table = table.filter(pa.array(values.known))
        return cls(table, values, columns.name, columns.expressions, left_out)


def rows(
    catalog: Catalog, where: str, steps: str, expressions: dict[str, str] | None = None
) -> tuple[pa.Table, dict[str, int]]:
    """Select checkpoints with finite weights, in a fixed order, and count the others.

    Parameters
    ----------
    expressions : dict of str to str, optional
        SQL expressions whose values become the columns ``pz_target_0``, ...

    Raises
    ------
    CatalogError
        If the condition or an expression is not valid SQL, or no checkpoint is left.
    """
    if steps not in ("all", "last"):
        raise CatalogError(f"--steps must be all or last. Got {steps!r}.")
    columns = ", ".join(f'"{name}"' for name in _COLUMNS)
    targets = "".join(
        f", {catalog.expression(sql)} AS {_TARGET}{i}"
        for i, sql in enumerate((expressions or {}).values())
    )
    last = "QUALIFY step = max(step) OVER (PARTITION BY run_id)" if steps == "last" else ""
    table = arrow_table(
        catalog.sql(
            f"SELECT {columns}{targets} FROM ({catalog.matching(where)}) models {last} "
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


def layouts(table: pa.Table) -> dict[str, Array]:
    """Return the rows of each arch_id."""
    ids = np.array(table["arch_id"].to_pylist())
    return {str(arch): np.flatnonzero(ids == arch) for arch in np.unique(ids)}
