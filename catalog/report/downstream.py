"""Results of averaging and downstream tasks by phase, as a table and figures.

All values come from columns of ``models`` that `phasezoo downstream` fills. The seeds of a
cell share most values, so means and confidence intervals are over cells. Neighbouring cells
of a grid are similar, so the intervals are probably too narrow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from catalog.catalog import Catalog
from catalog.dtypes import Array
from catalog.report.heat_maps import draw_maps, name_axes, panels
from catalog.report.phase_grid import COLOURS, LABELLED, grid_cells, mean_of
from catalog.rows import Rows, rows_of

GAINS = {
    "average_steps_gain_last": "average of steps",
    "average_raw_gain": "average of seeds, raw",
    "average_aligned_gain": "aligned",
    "average_repaired_gain": "aligned + REPAIR",
    "soup_gain": "greedy soup",
    "ensemble_gain": "ensemble",
}
"""Labels of the columns of gains in test error."""

OTHERS = {
    "prune_cliff": "sparsity at the cliff",
    "noise_rise": "rise of the error under noise",
    "transfer_gain": "gain from a trained start",
    "barrier_test_loss": "barrier (test loss)",
    "aligned_barrier_test_loss": "barrier, aligned",
}
"""Labels of the other columns of the table."""

MAPS = (
    ("average_steps_gain_last", "gain: average of steps", "RdBu"),
    ("average_raw_gain", "gain: average of seeds, raw", "RdBu"),
    ("average_repaired_gain", "gain: aligned + REPAIR", "RdBu"),
    ("ensemble_gain", "gain: ensemble", "RdBu"),
    ("aligned_barrier_test_error", "barrier, aligned (test error)", "magma_r"),
    ("prune_cliff", "sparsity before the cliff", "viridis"),
    ("noise_rise", "rise of the error under noise", "magma_r"),
    ("transfer_gain", "gain from a trained start", "RdBu"),
)
"""Column, title and colour map of each heat map."""

EVERY = "all"
"""Name of the group of cells without a phase."""

_CELLS = """
SELECT coalesce(any_value(phase) FILTER ({labelled}), 'all') AS phase,
    any_value(load) AS load, {columns}
FROM (SELECT * REPLACE (phase::VARCHAR AS phase),
    step = max(step) OVER (PARTITION BY run_id) AS last FROM models WHERE zoo = :zoo)
WHERE last GROUP BY coalesce(cell, run_id) ORDER BY coalesce(cell, run_id)"""

Interval = tuple[float, float, int]
"""Mean, half width of the 95 % interval (NaN for fewer than two cells), number of cells."""


def phase_gains(
    catalog: Catalog, zoo: str
) -> tuple[list[str], dict[str, dict[str, Interval]]]:
    """Average each column of `GAINS` and `OTHERS` by phase, at the last checkpoints.

    Returns
    -------
    phases : list of str
        Phases that occur, in order, with `EVERY` last for cells without a phase.
    values : dict of str to dict of str to (mean, half width, cells)
        Mean and confidence interval by column and phase. Combinations without any value
        are left out.
    """
    rows = _cells(catalog, zoo, [*GAINS, *OTHERS])
    occurring = {row["phase"] for row in rows}
    phases = [name for name in (*COLOURS, EVERY) if name in occurring]
    values: dict[str, dict[str, Interval]] = {}
    for column in (*GAINS, *OTHERS):
        for phase in phases:
            measured = [
                row[column]
                for row in rows
                if row["phase"] == phase and row[column] is not None
            ]
            if measured:
                interval = mean_and_half_width(np.array(measured))
                values.setdefault(column, {})[phase] = interval
    return phases, values


def mean_and_half_width(values: Array) -> Interval:
    """Return mean, half width of the 95 % Student's t confidence interval, and count.

    Examples
    --------
    >>> mean, half, count = mean_and_half_width(np.array([1.0, 2.0, 3.0]))
    >>> round(mean, 2), round(half, 2), count
    (2.0, 2.48, 3)
    """
    from scipy.special import stdtrit

    count = len(values)
    half = float("nan")
    if count > 1:
        half = float(stdtrit(count - 1, 0.975) * values.std(ddof=1) / np.sqrt(count))
    return float(values.mean()), half, count


def downstream_table(catalog: Catalog, zoo: str) -> Rows:
    """Return a row per phase with every mean and interval as text; [] without values."""
    phases, values = phase_gains(catalog, zoo)
    names = {**GAINS, **OTHERS}
    rows = []
    for phase in phases if values else []:
        row: dict[str, Any] = {"phase": phase}
        counts = [by_phase[phase][2] for by_phase in values.values() if phase in by_phase]
        row["cells"] = max(counts, default=0)
        for column, by_phase in values.items():
            row[names[column]] = _text(by_phase[phase]) if phase in by_phase else ""
        rows.append(row)
    return rows


def gain_bars(catalog: Catalog, zoo: str) -> Any:
    """Draw bars of gains in test error by phase, with 95 % intervals over cells."""
    phases, values = phase_gains(catalog, zoo)
    measured = [column for column in GAINS if column in values]
    if not measured:
        return None
    figure, (ax,) = panels(1, 1, 1.6 + 1.5 * len(measured), 3.6)
    width = 0.8 / len(phases)
    for p, phase in enumerate(phases):
        intervals = [values[c].get(phase, (np.nan, np.nan, 0)) for c in measured]
        x = np.arange(len(measured)) + (p - (len(phases) - 1) / 2) * width
        means, halves = np.array([interval[:2] for interval in intervals]).T
        colour = COLOURS.get(phase, "0.5")
        count = max(interval[2] for interval in intervals)
        ax.bar(x, means, width, color=colour, label=f"{phase} ({count} cells)")
        ax.errorbar(x, means, halves, fmt="none", ecolor="0.2", elinewidth=0.8, capsize=2)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set_xticks(range(len(measured)), [GAINS[c] for c in measured], fontsize=8)
    ax.set_ylabel("gain in test error", fontsize=8)
    ax.tick_params(axis="y", labelsize=7)
    ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def downstream_maps(catalog: Catalog, zoo: str) -> Any:
    """Draw heat maps of `MAPS` over the grid; gains are blue, losses are red."""
    rows = grid_cells(catalog, zoo, "last", MAPS)
    measured = [m for m in MAPS if any(row[m[0]] is not None for row in rows)]
    if not measured:
        return None
    figure, axes = panels(len(measured), 4, 3.3, 3.0)
    draw_maps(axes, rows, measured)
    name_axes(catalog, zoo, axes[: len(measured)])
    return figure


def barriers_over_load(catalog: Catalog, zoo: str) -> Any:
    """Draw barriers between seeds over the load, with raw and with aligned weights."""
    names = {"barrier_test_loss": "not aligned", "aligned_barrier_test_loss": "aligned"}
    rows = [
        r
        for r in _cells(catalog, zoo, list(names))
        if None not in (r["load"], r[min(names)])
    ]
    loads = sorted({row["load"] for row in rows})
    if len(loads) < 2:
        return None
    figure, (ax,) = panels(1, 1, 5.2, 3.4)
    for (column, label), colour in zip(names.items(), ("#b5367a", "#31688e"), strict=True):
        intervals = [
            mean_and_half_width(np.array([r[column] for r in rows if r["load"] == load]))
            for load in loads
        ]
        means, halves = np.array([interval[:2] for interval in intervals]).T
        ax.errorbar(loads, means, halves, color=colour, label=label, capsize=2, marker=".")
    if min(loads) > 0:
        ax.set_xscale("log")
        ax.set_xticks(loads, [f"{load:g}" for load in loads], fontsize=7)
        ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.tick_params(labelsize=7)
    name_axes(catalog, zoo, [ax])
    ax.set_ylabel("barrier of the test loss (nats)", fontsize=8)
    ax.legend(fontsize=8, frameon=False)
    return figure


def pruning_curves(catalog: Catalog, zoo: str) -> Any:
    """Draw the mean test error over the share of pruned weights, by phase."""
    columns = set(catalog.sql("FROM models").columns)
    if "prune_curve" not in columns:
        return None
    stored = rows_of(
        catalog,
        "SELECT phase::VARCHAR AS phase, prune_curve::VARCHAR AS curve FROM models "
        "WHERE zoo = :zoo AND prune_curve IS NOT NULL "
        "QUALIFY step = max(step) OVER (PARTITION BY run_id)",
        zoo=zoo,
    )
    rows = [row | {"curve": c} for row in stored if (c := _curve(row["curve"]))]
    if not rows:
        return None
    figure, (ax,) = panels(1, 1, 5.6, 3.4)
    phases = {row["phase"] if row["phase"] in COLOURS else EVERY for row in rows}
    for phase in (name for name in (*COLOURS, EVERY) if name in phases):
        curves = [
            row["curve"]
            for row in rows
            if (row["phase"] if row["phase"] in COLOURS else EVERY) == phase
        ]
        shares = list(curves[0])
        errors = np.array([[c[s] for s in shares] for c in curves if list(c) == shares])
        ax.plot(
            [float(s) for s in shares], errors.mean(0), color=COLOURS.get(phase, "0.5"),
            label=f"{phase} ({len(curves):,})", marker=".", markersize=4,
        )  # fmt: skip
    ax.set_xlabel("share of all matrices' weights set to zero", fontsize=8)
    ax.set_ylabel("test error", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.legend(fontsize=8, frameon=False)
    return figure


FIGURES: Mapping[str, Callable[[Catalog, str], Any]] = {
    "Gains from averaging by phase": gain_bars,
    "Averaging and downstream tasks over the grid": downstream_maps,
    "Barriers between seeds": barriers_over_load,
    "Magnitude pruning": pruning_curves,
}
"""Title and function of each figure of the report."""


def _cells(catalog: Catalog, zoo: str, names: list[str]) -> Rows:
    """Row per cell at the last checkpoints, with means over the seeds of the cell."""
    existing = set(catalog.sql("FROM models").columns)
    columns = [
        mean_of(name) if name in existing else f"NULL::DOUBLE AS {name}" for name in names
    ]
    return rows_of(
        catalog, _CELLS.format(columns=", ".join(columns), labelled=LABELLED), zoo=zoo
    )


def _curve(text: str) -> dict[str, float]:
    """Parse the error by sparsity; empty if the column of that name holds other text."""
    try:
        return {
            share: float(error)
            for share, error in json.loads(text).items()
            if float(share) >= 0
        }
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _text(value: Interval) -> str:
    mean, half, _ = value
    return f"{mean:+.3f}" if np.isnan(half) else f"{mean:+.3f} ± {half:.3f}"
