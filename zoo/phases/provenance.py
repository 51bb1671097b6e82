"""Where the metrics of a zoo come from: which train loss, and measured with what."""

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
"""Metric of `phasezoo measure` that gives each column."""


def with_train_loss(table: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """Put the loss that counts into ``train_loss``; count where it comes from.

    That of training, and the evaluated one where there is none. Of imported runs the
    other way round, as a published loss may be a running average over an epoch.

    Parameters
    ----------
    table : pyarrow.Table
        ``train_loss``, ``source`` and, where measured, ``evaluated_train_loss``.

    Returns
    -------
    table, counts
        Checkpoints by the name of the column that gave their loss; those without a loss
        are in none.
    """
    own = table["train_loss"].cast(pa.float64())
    if EVALUATED not in table.column_names:
        known = len(table) - own.null_count
        return table, {"train_loss": known} if known else {}
    other = table[EVALUATED].cast(pa.float64())
    imported = pc.fill_null(pc.equal(table["source"], "imported"), False)
    later = pc.and_(other.is_valid(), pc.or_(imported, own.is_null()))
    loss = pc.if_else(later, other, own)
    table = table.set_column(table.column_names.index("train_loss"), "train_loss", loss)
    evaluated = pc.sum(later).as_py() or 0
    counts = {"train_loss": len(table) - loss.null_count - evaluated, EVALUATED: evaluated}
    return table, {name: count for name, count in counts.items() if count}


def check_measured(catalog: Catalog, zoo: str, table: pa.Table) -> None:
    """Raise where a metric was never measured; one that came out as null was.

    Parameters
    ----------
    table : pyarrow.Table
        Of the zoo, after `with_train_loss`.
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
        done.add(MEASURED_BY["train_loss"])  # training had none to keep
    missing = [name for name in missing if MEASURED_BY[name] not in done]
    if missing:
        chosen = " ".join(f"--metric {MEASURED_BY[name]}" for name in missing)
        raise CatalogError(
            f"{zoo} has no {', '.join(missing)}: a phase needs {', '.join(METRICS)}. "
            f"Measure first: phasezoo measure {word(zoo)} {chosen}"
        )


def one_setting(catalog: Catalog, zoo: str, columns: list[str]) -> dict[str, str]:
    """Id of the measure that each column of a zoo comes from, where it was measured.

    Raises
    ------
    CatalogError
        If the newest values of a column were measured with different settings: they
        cannot be compared.
    """
    manifests = catalog.snapshot.manifests
    source = metadata_source(catalog.root, manifests, "measures", origin=True)
    found = {}
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
                f"{column} of {zoo} comes from {len(rows)} settings, which cannot be "
                f"compared: {_differences(rows)}. Measure all with one: phasezoo measure "
                f"{word(zoo)} --metric {metric} --again (and --set {metric}.FIELD=VALUE, "
                "if it is not to be the default)"
            )
        if rows:
            found[column] = rows[0]["measure_id"]
    return found


def _differences(rows: Rows) -> str:
    """What the settings differ in, with the checkpoints of each."""
    every = [json_object(row["provenance"], "The provenance of a measure") for row in rows]
    names = sorted({name for one in every for name in one})
    differ = [n for n in names if any(one.get(n) != every[0].get(n) for one in every)]

    def said(one: dict[str, Any]) -> str:
        return ", ".join(f"{name} {one.get(name)!r}" for name in differ) or "other names"

    return "; ".join(
        f"{row['n']} checkpoints with {said(one)}"
        for row, one in zip(rows, every, strict=True)
    )
