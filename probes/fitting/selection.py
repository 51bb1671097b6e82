"""Selection of networks and targets for a probe, checked before weights are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from catalog.catalog import Catalog
from catalog.checkpoints import rows
from probes.fitting.target_columns import TargetColumns, TargetValues


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
        keys = [f"pz_target_{i}" for i in range(len(columns.expressions))]
        expressions = dict(zip(keys, columns.expressions.values(), strict=True))
        table, left_out = rows(catalog, where, steps, expressions)
        target_table = table.select(keys).rename_columns(list(columns.expressions))
        values = TargetValues.of(target_table, list(columns.expressions), task)
        table = table.drop_columns(keys)
        unknown = int((~values.known).sum())
        if unknown:
            left_out[f"no value of {columns.name}"] = unknown
            table = table.filter(pa.array(values.known))
        return cls(table, values, columns.name, columns.expressions, left_out)
