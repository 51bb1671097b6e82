"""Cells of the grid of load and temperature, with means over seeds and their phases."""

from __future__ import annotations

from catalog.catalog import Catalog
from catalog.quoting import literal
from catalog.rows import Rows, rows_of

COLOURS = {
    "I": "#8c2d04",
    "II": "#ec7014",
    "III": "#6a51a3",
    "IV-A": "#74a9cf",
    "IV-B": "#238b45",
}
"""Colour of each phase.

Warm colours are under-fitted, violet is under-sized, blue over-fitted, green generalising.
"""

NAMES = {
    "I": "under-fitted, under-sized",
    "II": "under-fitted",
    "III": "under-sized",
    "IV-A": "over-fitted",
    "IV-B": "generalising",
}
"""Description of each phase."""

LABELLED = f"phase IN ({', '.join(map(literal, COLOURS))})"
"""SQL condition that selects the networks with a phase."""

DOUBTED = (
    "TRY_CAST(phase_stability AS DOUBLE) < 0.9 "
    "OR abs(TRY_CAST(phase_distance AS DOUBLE)) < 0.5"
)
"""SQL condition of hatched cells: random draws disagree, or a boundary is near."""

MAPS = (
    ("train_loss", "training loss (log scale)", "viridis_r"),
    ("test_accuracy", "test accuracy", "viridis"),
    ("test_relative_error", "relative error of the test split", "viridis_r"),
    ("hessian_trace", "log10 Hessian trace", "magma_r"),
    ("hessian_top_eig", "log10 top eigenvalue", "magma_r"),
    ("mode_connectivity", "mode connectivity (share of error)", "RdBu"),
    ("logit_cka", "CKA between seeds", "cividis"),
)
"""Column, title and colour map of each heat map.

Values that have no logarithm, such as negative curvature, are marked with a minus sign.
"""

_CELLS = """
SELECT load, temperature, moment, avg(epoch) AS epoch, {columns},
    count(phase) AS labelled,
    mode(phase) FILTER ({labelled}) AS phase,
    bool_or(({doubted}) AND {labelled}) AS doubted
FROM (SELECT * REPLACE (phase::VARCHAR AS phase),
    CASE WHEN steps > 0 THEN round(step / steps, 4) ELSE step END AS moment,
    step = max(step) OVER (PARTITION BY run_id) AS last FROM models WHERE zoo = :zoo)
WHERE {where} AND load IS NOT NULL AND temperature IS NOT NULL
GROUP BY load, temperature, moment ORDER BY load, temperature, moment"""


def grid_cells(
    catalog: Catalog, zoo: str, where: str, maps: tuple[tuple[str, str, str], ...] = MAPS
) -> Rows:
    """Return the cells of the grid with means over seeds, and their phases.

    Parameters
    ----------
    catalog : Catalog
        Catalogue that holds the zoo.
    zoo : str
        Name of the zoo.
    where : str
        SQL condition on the columns of ``models`` and on ``last`` and ``moment``.
    maps : tuple of (column, title, colours)
        Heat maps whose columns are averaged; the mean is null if the catalogue has no
        such column.

    Returns
    -------
    list of dict
        ``load``, ``temperature``, ``moment``, ``epoch``, the mean of each column,
        ``labelled`` (number of networks with a value in ``phase``), ``phase`` (the most
        frequent one; null if all are unmeasured) and ``doubted`` (see `DOUBTED`).
    """
    existing = set(catalog.sql("FROM models").columns)
    columns = [
        mean_of(name) if name in existing else f"NULL::DOUBLE AS {name}"
        for name, _, _ in maps
    ]
    query = _CELLS.format(
        columns=", ".join(columns), where=where, doubted=DOUBTED, labelled=LABELLED
    )
    return rows_of(catalog, query, zoo=zoo)


def mean_of(column: str) -> str:
    """Return SQL for the mean of the finite values of a column, which may hold text."""
    value = f"TRY_CAST({column} AS DOUBLE)"
    return f"avg({value}) FILTER (isfinite({value})) AS {column}"
