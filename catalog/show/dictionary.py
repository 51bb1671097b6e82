"""Data dictionary: type, unit and meaning of every column of every view."""

from __future__ import annotations

from typing import Any

from catalog.catalog import Catalog
from catalog.schema import CHECKPOINTS, HUB_CHECKPOINTS, HUB_RUNS, MEASURES, RUNS, TABLES

Rows = list[dict[str, Any]]

_HUB = {
    (table, column.name): (column.unit, column.meaning)
    for table, columns in (("runs", HUB_RUNS), ("checkpoints", HUB_CHECKPOINTS))
    for column in columns
}


def all_columns(catalog: Catalog | None) -> Rows:
    """Return a row per column of every view: documented columns and free columns.

    Parameters
    ----------
    catalog : Catalog or None
        Catalogue whose free columns and measures to add. None lists documented columns
        only.

    Returns
    -------
    list of dict
        ``view``, ``column``, ``type``, ``unit`` and ``meaning``.
    """
    rows = []
    documented = {c.name for c in (*RUNS, *CHECKPOINTS)}
    for table, columns in TABLES.items():
        names = {column.name for column in columns}
        for column in columns:
            rows.append(
                _row(table, column.name, str(column.type), column.unit, column.meaning)
            )
        for name, kind in _free(catalog, table, names):
            unit, meaning = _HUB.get((table, name), ("-", "free column of a zoo"))
            rows.append(_row(table, name, kind, unit, meaning))
    rows.append(_row("models", "*", "-", "-", "runs x checkpoints x newest measures"))
    measures = {column.name: column for column in MEASURES}
    if catalog is None:
        rows += [_row("models", c.name, str(c.type), c.unit, c.meaning) for c in MEASURES]
    runs_columns = {name for name, _ in _free(catalog, "runs", set())}
    checkpoint_columns = {name for name, _ in _free(catalog, "checkpoints", set())}
    for name, kind in _free(
        catalog, "models", documented | runs_columns | checkpoint_columns
    ):
        unit, meaning = "-", "measure; see measures.provenance"
        if name in measures:
            kind, unit = str(measures[name].type), measures[name].unit
            meaning = measures[name].meaning
        rows.append(_row("models", name, kind, unit, meaning))
    return rows


def _row(view: str, column: str, kind: str, unit: str, meaning: str) -> dict[str, Any]:
    return {
        "view": view,
        "column": column,
        "type": kind,
        "unit": unit,
        "meaning": meaning,
    }


def _free(catalog: Catalog | None, view: str, known: set[str]) -> list[tuple[str, str]]:
    """Return names and types of the columns of a view, except those in ``known``."""
    if catalog is None or view == "tensor_stats":
        return []
    described = catalog.sql(f"DESCRIBE {view}").fetchall()
    return [(row[0], row[1]) for row in described if row[0] not in known]
