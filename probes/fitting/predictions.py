"""What a probe says about stored networks, as measures of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from catalog.catalog import Catalog
from catalog.dtypes import Array
from probes.fitting.shown import Shown


def columns_of(probe: str, name: str, labels: Sequence[str]) -> list[str]:
    """Columns that `write` fills: one for each label, and one for the split.

    Examples
    --------
    >>> columns_of("linear", "test_accuracy", ["test_accuracy"])
    ['linear_test_accuracy', 'linear_test_accuracy_split']
    """
    return [*(f"{probe}_{label}" for label in labels), f"{probe}_{name}_split"]


def prediction_table(
    table: pa.Table, columns: Sequence[str], predicted: Array, split: Sequence[str]
) -> pa.Table:
    """Rows of measures.

    Parameters
    ----------
    table : pyarrow.Table
        n rows with ``run_id`` and ``step``.
    columns : sequence of str
        As `columns_of` names them.
    predicted : ndarray of shape (n,) or (n, k)
    split : sequence of str
        Of each row: "train" or "test" when the probe was fitted, "mixed" if it was
        neither; if it was not there "kin" of what was learnt from, or "new".
    """
    values = predicted[:, None] if predicted.ndim == 1 else predicted
    fields: dict[str, Any] = {name: table[name] for name in ("run_id", "step")}
    for column, own in zip(columns[:-1], values.T, strict=True):
        kinds = {"f": pa.float64(), "b": pa.bool_(), "i": pa.int64(), "u": pa.int64()}
        kind = kinds.get(own.dtype.kind, pa.string())
        fields[column] = pa.array(own.tolist(), kind)
    fields[columns[-1]] = pa.array(list(split), pa.string())
    return pa.table(fields)


def write(
    catalog: Catalog,
    table: pa.Table,
    name: str,
    provenance: dict[str, Any],
    announce: Callable[[str], None],
) -> None:
    """Commit the measures, and tell whose predictions are in the columns no longer."""
    columns = [column for column in table.column_names if column not in ("run_id", "step")]
    lines = Shown(catalog.refreshed(), columns).told(table, name, provenance)
    with catalog.writer() as writer:
        writer.commit_measures(table, name, provenance)
    for line in lines:
        announce(line)
