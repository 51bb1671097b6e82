"""Provenance of the metrics of a zoo: source of the train loss, and settings."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog import Catalog, CatalogError
from catalog.console.pasting import word
from catalog.rows import Rows, rows_of
from catalog.storage.json_column import json_object
from catalog.storage.measures import origin_sql
from catalog.storage.metadata import metadata_source
from zoo.phases.cells import METRICS, has_diverged

EVALUATED = "evaluated_train_loss"

MEASURED_BY = {
    "train_loss": "scores",
    EVALUATED: "scores",
    "mode_connectivity": "mode_connectivity",
    "logit_cka": "cka",
    "logit_cka_random": "cka",
}
"""Metric of `phasezoo measure` that computes each column."""


def with_train_loss(table: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """Choose the train loss of each checkpoint and write it into ``train_loss``.

    The loss recorded by training takes precedence over the evaluated loss. For imported
    runs the evaluated loss takes precedence, as a published loss may be a running average
    over an epoch.

    Parameters
    ----------
    table : pyarrow.Table
        Table with ``train_loss``, ``source`` and, if measured, ``evaluated_train_loss``.

    Returns
    -------
    table : pyarrow.Table
        The table with the chosen loss in ``train_loss``.
    counts : dict of str to int
        Number of checkpoints by the column that their loss comes from; checkpoints
        without a loss are not counted.
    """
    recorded = table["train_loss"].cast(pa.float64())
    if EVALUATED not in table.column_names:
        known = len(table) - recorded.null_count
        return table, {"train_loss": known} if known else {}
    evaluated = table[EVALUATED].cast(pa.float64())
    imported = pc.fill_null(pc.equal(table["source"], "imported"), False)
    chosen = pc.and_(evaluated.is_valid(), pc.or_(imported, recorded.is_null()))
    loss = pc.if_else(chosen, evaluated, recorded)
    table = table.set_column(table.column_names.index("train_loss"), "train_loss", loss)
    count = pc.sum(chosen).as_py() or 0
    counts = {"train_loss": len(table) - loss.null_count - count, EVALUATED: count}
    return table, {name: number for name, number in counts.items() if number}


def check_measured(catalog: Catalog, zoo: str, table: pa.Table) -> None:
    """Check that every metric was measured; a metric measured as null counts.

    Parameters
    ----------
    catalog : Catalog
        Catalogue of the zoo.
    zoo : str
        Name of the zoo.
    table : pyarrow.Table
        Metrics of the zoo, after `with_train_loss`.

    Raises
    ------
    CatalogError
        If a metric was never measured; the message says how to measure it.
    """
    missing = [
        name
        for name in METRICS
        if name not in table.column_names or table[name].null_count == len(table)
    ]
    if not missing:
        return
    query = (
        "SELECT DISTINCT measure FROM measures JOIN runs USING (run_id) WHERE zoo = :zoo"
    )
    done = {row["measure"] for row in rows_of(catalog, query, zoo=zoo)}
    if has_diverged(table, table["step"].to_numpy()).all():
        done.add(MEASURED_BY["train_loss"])  # diverged training has no loss to record
    missing = [name for name in missing if MEASURED_BY[name] not in done]
    if missing:
        options = " ".join(f"--metric {MEASURED_BY[name]}" for name in missing)
        raise CatalogError(
            f"{zoo} has no {', '.join(missing)}: a phase needs {', '.join(METRICS)}. "
            f"Measure first: phasezoo measure {word(zoo)} {options}"
        )


def one_setting(catalog: Catalog, zoo: str, columns: list[str]) -> dict[str, str]:
    """Return the id of the measure that each measured column of a zoo comes from.

    Raises
    ------
    CatalogError
        If the newest values of a column were measured with different settings, so that
        they cannot be compared.
    """
    manifests = catalog.snapshot.manifests
    source = metadata_source(catalog.root, manifests, "measures", origin=True)
    measure_ids = {}
    for column in columns:
        if not source or column not in catalog.sql("FROM measures").columns:
            continue
        query = (
            "SELECT measure_id, any_value(provenance) AS provenance, count(*) AS n "
            f"FROM ({origin_sql(source, column)}) JOIN runs USING (run_id) "
            "WHERE zoo = :zoo GROUP BY measure_id ORDER BY n DESC, measure_id"
        )
        rows = rows_of(catalog, query, zoo=zoo)
        if len(rows) > 1:
            metric = MEASURED_BY[column]
            raise CatalogError(
                f"{column} of {zoo} comes from {len(rows)} different settings, so its "
                f"values cannot be compared: {_differences(rows)}. Measure all with the "
                f"same settings: phasezoo measure {word(zoo)} --metric {metric} --again "
                f"(add --set {metric}.FIELD=VALUE for other settings than the default)"
            )
        if rows:
            measure_ids[column] = rows[0]["measure_id"]
    return measure_ids


def _differences(rows: Rows) -> str:
    """Describe the settings that differ, and the number of checkpoints of each."""
    settings = [
        json_object(row["provenance"], "The provenance of a measure") for row in rows
    ]
    names = sorted({name for values in settings for name in values})
    first = settings[0]
    differ = [n for n in names if any(values.get(n) != first.get(n) for values in settings)]

    def described(values: dict[str, Any]) -> str:
        return ", ".join(f"{name} {values.get(name)!r}" for name in differ) or "other names"

    return "; ".join(
        f"{row['n']} checkpoints with {described(values)}"
        for row, values in zip(rows, settings, strict=True)
    )
