"""Measures: later results about known checkpoints, as wide typed tables.

Several files may hold the same column. The value of the newest commit wins, and a null
never overwrites a value.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from catalog.errors import CatalogError
from catalog.names import canonical_json, content_id, is_unicode
from catalog.quoting import identifier
from catalog.schema import CHECKPOINTS, MEASURES, RUNS, cast, check_columns

_WITHOUT_RESULTS = ("run_id", "step", "measure", "measure_id", "provenance")

_KINDS = (pa.float64(), pa.int64(), pa.bool_(), pa.string())
_DOCUMENTED = {column.name: column.type for column in MEASURES}
_NULLED = {column.name for column in MEASURES if column.type == pa.float64()}


def measure_table(table: pa.Table, name: str, provenance: dict[str, Any]) -> pa.Table:
    """Return a checked table of results with columns for its measure and provenance.

    Parameters
    ----------
    table : pyarrow.Table
        Columns ``run_id`` and ``step``, and one column per result.
    name : str
        Name of the measure.
    provenance : dict
        JSON object that says how the results were computed.

    Raises
    ------
    CatalogError
        If keys are missing, null, duplicate or of another type; if there is no result
        column; or if a result column has the name of a column of runs or checkpoints, or
        a type other than float64, int64, bool and string.
    """
    label = f"the measure {name!r}"
    if not name.strip() or not is_unicode(name):
        raise CatalogError(
            f"{name!r} is not a name for a measure. Expected text that is not blank."
        )
    check_columns(table.column_names, label, {"run_id", "step"})
    for key in ("run_id", "step"):
        if key not in table.column_names or table[key].null_count:
            raise CatalogError(f"Every row of {label} needs a {key!r}.")
    keys = [column for column in CHECKPOINTS if column.name in ("run_id", "step")]
    fields = {key.name: cast(table[key.name], key, label) for key in keys}
    if len(pa.table(fields).group_by(list(fields)).aggregate([])) != len(table):
        raise CatalogError(f"Two rows of {label} have the same (run_id, step).")
    if len(table.column_names) == len(fields):
        raise CatalogError(
            f"There is no result column in {label}. Add a column for every result."
        )
    reserved = {column.name for column in (*RUNS, *CHECKPOINTS)}
    reserved |= {"measure_id", "measure", "provenance", "shard"}
    for column in table.column_names:
        if column in ("run_id", "step"):
            continue
        if column.lower() in reserved:
            raise CatalogError(
                f"A measure cannot be called {column!r}: runs and checkpoints have a "
                f"column of that name. Call it '{name}_{column}'."
            )
        _check_kind(column, table[column].type)
        fields[column] = _documented(column, table[column], label)
    rows = len(table)
    measure_id = content_id([name, provenance], 16)
    fields["measure"] = pa.array([name] * rows, pa.string())
    fields["measure_id"] = pa.array([measure_id] * rows, pa.string())
    fields["provenance"] = pa.array([canonical_json(provenance)] * rows, pa.string())
    return pa.table(fields)


def result_columns(table: pa.Table) -> list[str]:
    """Return the result columns of a stored table of measures."""
    return [name for name in table.column_names if name not in _WITHOUT_RESULTS]


def check_copied(table: pa.Table) -> None:
    """Check a table of measures as another catalogue stores it.

    Raises
    ------
    CatalogError
        If a key, the measure or its provenance is missing, two rows are about the same
        checkpoint, or a result has a type that `measure_table` refuses.
    """
    label = "measures of another catalogue"
    check_columns(table.column_names, label, set(_WITHOUT_RESULTS))
    for name in _WITHOUT_RESULTS:
        kind = pa.int64() if name == "step" else pa.string()
        if name not in table.column_names or table[name].type != kind:
            raise CatalogError(f"The {label} have no column {name!r} of type {kind}.")
        if table[name].null_count:
            raise CatalogError(f"A row of the {label} has no {name!r}.")
    if len(table.group_by(["run_id", "step"]).aggregate([])) != len(table):
        raise CatalogError(f"Two rows of the {label} have the same (run_id, step).")
    for name in result_columns(table):
        _check_kind(name, table[name].type)


def _check_kind(column: str, kind: pa.DataType) -> None:
    if kind not in _KINDS:
        kinds = ", ".join(map(str, _KINDS))
        raise CatalogError(f"Measure {column!r} is {kind}; it must be one of {kinds}.")


def _documented(name: str, values: pa.ChunkedArray, label: str) -> pa.ChunkedArray:
    """Return values of a measure in the type that the schema documents, if any."""
    kind = _DOCUMENTED.get(name, values.type)
    all_null, integer = values.null_count == len(values), pa.types.is_integer(values.type)
    if values.type == kind:
        return values
    if all_null or (integer and pa.types.is_floating(kind)):
        return values.cast(kind)
    raise CatalogError(
        f"Measure {name!r} is {values.type} in {label}, but 'phasezoo schema' documents it "
        f"as {kind}. Convert the column, or rename it."
    )


def newest_sql(source: str, columns: list[str]) -> str:
    """Return a query for the newest value of each column per checkpoint.

    Parameters
    ----------
    source : str
        Relation with ``run_id``, ``step``, an integer ``pz_rank`` (greater is newer)
        and ``columns``.
    columns : list of str
        Result columns.
    """
    newest = ", ".join(f"arg_max({c}, pz_rank) AS {c}" for c in map(identifier, columns))
    return f"SELECT run_id, step, {newest} FROM {source} GROUP BY run_id, step"


def shown_sql(column: str, value: str, kind: str) -> str:
    """Return SQL for a value as `models` shows it: NaN of a documented measure is null.

    A null never overwrites, so a result is withdrawn by writing NaN over it; but SQL sorts
    NaN after every number. Columns that are not documented keep NaN, as it may be a
    result there.

    Parameters
    ----------
    column, kind : str
        Name and SQL type of the column.
    value : str
        SQL expression of the value.
    """
    if column in _NULLED and kind == "DOUBLE":
        return f"nullif({value}, 'nan'::DOUBLE)"
    return value


def origin_sql(source: str, column: str) -> str:
    """Return a query for measure and provenance of a column's newest value per checkpoint.

    Parameters
    ----------
    source : str
        Relation of all measures, with the shard of each row as ``pz_shard``.
    column : str
        Result column of ``source``.
    """
    ranks = "SELECT shard, row_number() OVER (ORDER BY sequence, sha256) AS pz_rank"
    return (
        "SELECT m.run_id, m.step, arg_max(measure_id, pz_rank) AS measure_id, "
        f"arg_max(provenance, pz_rank) AS provenance FROM {source} m "
        f"JOIN ({ranks} FROM shards) s ON s.shard = m.pz_shard "
        f"WHERE m.{identifier(column)} IS NOT NULL GROUP BY m.run_id, m.step"
    )
