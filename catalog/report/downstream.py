"""What the networks of a zoo are good for, by phase: a table and figures.

All comes from columns of ``models`` that `phasezoo downstream` fills. Seeds of a cell share
most of them, so means and intervals are over cells; neighbours of a grid are alike, so the
intervals are rather too narrow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from catalog.catalog import Catalog
from catalog.dtypes import Array
from catalog.report.phase_pictures import (
    COLOURS,
    LABELLED,
    draw_maps,
    grid_cells,
    mean_of,
    name_axes,
    panels,
)
from catalog.rows import Rows, rows_of

GAINS = {
    "average_steps_gain_last": "average of steps",
    "average_raw_gain": "average of seeds, raw",
    "average_aligned_gain": "aligned",
    "average_repaired_gain": "aligned + REPAIR",
    "soup_gain": "greedy soup",
    "ensemble_gain": "ensemble",
}
"""Columns of gains in test error, and how they are called."""

OTHERS = {
    "prune_cliff": "sparsity at the cliff",
    "noise_rise": "rise of the error by noise",
    "transfer_gain": "gain of a trained start",
    "barrier_test_loss": "barrier (test loss)",
    "aligned_barrier_test_loss": "barrier, aligned",
}

MAPS = (
    ("average_steps_gain_last", "gain: average of steps", "RdBu"),
    ("average_raw_gain", "gain: average of seeds, raw", "RdBu"),
    ("average_repaired_gain", "gain: aligned + REPAIR", "RdBu"),
    ("ensemble_gain", "gain: ensemble", "RdBu"),
    ("aligned_barrier_test_error", "barrier, aligned (test error)", "magma_r"),
    ("prune_cliff", "sparsity before the cliff", "viridis"),
    ("noise_rise", "rise of the error by noise", "magma_r"),
    ("transfer_gain", "gain of a trained start", "RdBu"),
)
"""Column, title and colours of each map."""

EVERY = "all"
"""Stands for the phase where no network has one."""

_CELLS = """
SELECT coalesce(any_value(phase) FILTER ({labelled}), 'all') AS phase,
    any_value(load) AS load, {columns}
FROM (SELECT * REPLACE (phase::VARCHAR AS phase),
    step = max(step) OVER (PARTITION BY run_id) AS last FROM models WHERE zoo = :zoo)
WHERE last GROUP BY coalesce(cell, run_id) ORDER BY coalesce(cell, run_id)"""

Interval = tuple[float, float, int]
"""Mean, half of the 95 % interval (NaN of fewer than two), and how many cells."""


def phase_gains(
    catalog: Catalog, zoo: str
) -> tuple[list[str], dict[str, dict[str, Interval]]]:
    """Mean of each column of `GAINS` and `OTHERS` by phase, at the last checkpoints.

    Returns
    -------
    phases : list of str
        In order; `EVERY` for the cells without one.
    values : dict of str to dict of str to (mean, half width, cells)
        By column and phase; what was not measured is left out.
    """
    rows = _cells(catalog, zoo, [*GAINS, *OTHERS])
    found = {row["phase"] for row in rows}
    phases = [name for name in (*COLOURS, EVERY) if name in found]
    values: dict[str, dict[str, Interval]] = {}
    for column in (*GAINS, *OTHERS):
        for phase in phases:
            own = [r[column] for r in rows if r["phase"] == phase]
            own = [v for v in own if v is not None]
            if own:
                values.setdefault(column, {})[phase] = mean_and_half_width(np.array(own))
    return phases, values


def mean_and_half_width(values: Array) -> Interval:
    """Mean and half of its 95 % interval, after Student.

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
    """A row per phase: every mean with its interval as text; [] if there is nothing."""
    phases, values = phase_gains(catalog, zoo)
    names = {**GAINS, **OTHERS}
    rows = []
    for phase in phases if values else []:
        row: dict[str, Any] = {"phase": phase}
        cells = [own[phase][2] for own in values.values() if phase in own]
        row["cells"] = max(cells, default=0)
        for column, own in values.items():
            row[names[column]] = _text(own[phase]) if phase in own else ""
        rows.append(row)
    return rows


def gain_bars(catalog: Catalog, zoo: str) -> Any:
    """Gains in test error by phase, with 95 % intervals over cells."""
    phases, values = phase_gains(catalog, zoo)
    known = [column for column in GAINS if column in values]
    if not known:
        return None
    figure, (ax,) = panels(1, 1, 1.6 + 1.5 * len(known), 3.6)
    wide = 0.8 / len(phases)
    for p, phase in enumerate(phases):
        own = [values[c].get(phase, (np.nan, np.nan, 0)) for c in known]
        at = np.arange(len(known)) + (p - (len(phases) - 1) / 2) * wide
        means, halves = np.array([o[:2] for o in own]).T
        colour = COLOURS.get(phase, "0.5")
        count = max(o[2] for o in own)
        ax.bar(at, means, wide, color=colour, label=f"{phase} ({count} cells)")
        ax.errorbar(at, means, halves, fmt="none", ecolor="0.2", elinewidth=0.8, capsize=2)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set_xticks(range(len(known)), [GAINS[c] for c in known], fontsize=8)
    ax.set_ylabel("gain in test error", fontsize=8)
    ax.tick_params(axis="y", labelsize=7)
    ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def downstream_maps(catalog: Catalog, zoo: str) -> Any:
    """Heat maps over the grid; blue is gained, red is lost."""
    rows = grid_cells(catalog, zoo, "last", MAPS)
    known = [m for m in MAPS if any(row[m[0]] is not None for row in rows)]
    if not known:
        return None
    figure, axes = panels(len(known), 4, 3.3, 3.0)
    draw_maps(axes, rows, known)
    name_axes(catalog, zoo, axes[: len(known)])
    return figure


def barriers_over_load(catalog: Catalog, zoo: str) -> Any:
    """Barriers between seeds against the load, as they are and aligned."""
    names = {"barrier_test_loss": "as they are", "aligned_barrier_test_loss": "aligned"}
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
        own = [
            mean_and_half_width(np.array([r[column] for r in rows if r["load"] == load]))
            for load in loads
        ]
        means, halves = np.array([o[:2] for o in own]).T
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
    """Mean test error against the share of weights that are gone, by phase."""
    known = set(catalog.sql("FROM models").columns)
    if "prune_curve" not in known:
        return None
    found = rows_of(
        catalog,
        "SELECT phase::VARCHAR AS phase, prune_curve::VARCHAR AS curve FROM models "
        "WHERE zoo = :zoo AND prune_curve IS NOT NULL "
        "QUALIFY step = max(step) OVER (PARTITION BY run_id)",
        zoo=zoo,
    )
    rows = [row | {"curve": c} for row in found if (c := _curve(row["curve"]))]
    if not rows:
        return None
    figure, (ax,) = panels(1, 1, 5.6, 3.4)
    phases = {row["phase"] if row["phase"] in COLOURS else EVERY for row in rows}
    for phase in (name for name in (*COLOURS, EVERY) if name in phases):
        own = [
            row["curve"]
            for row in rows
            if (row["phase"] if row["phase"] in COLOURS else EVERY) == phase
        ]
        shares = list(own[0])
        curve = np.array([[c[s] for s in shares] for c in own if list(c) == shares])
        ax.plot(
            [float(s) for s in shares], curve.mean(0), color=COLOURS.get(phase, "0.5"),
            label=f"{phase} ({len(own):,})", marker=".", markersize=4,
        )  # fmt: skip
    ax.set_xlabel("share of the weights of all matrices set to zero", fontsize=8)
    ax.set_ylabel("test error", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.legend(fontsize=8, frameon=False)
    return figure


FIGURES: Mapping[str, Callable[[Catalog, str], Any]] = {
    "What is gained by averaging, by phase": gain_bars,
    "Averaging and downstream over the grid": downstream_maps,
    "Barriers between seeds": barriers_over_load,
    "Magnitude pruning": pruning_curves,
}


def _cells(catalog: Catalog, zoo: str, names: list[str]) -> Rows:
    """A row per cell at the last checkpoints: means over its seeds."""
    known = set(catalog.sql("FROM models").columns)
    columns = [
        mean_of(name) if name in known else f"NULL::DOUBLE AS {name}" for name in names
    ]
    return rows_of(
        catalog, _CELLS.format(columns=", ".join(columns), labelled=LABELLED), zoo=zoo
    )


def _curve(text: str) -> dict[str, float]:
    """Error by sparsity; empty if a column of that name holds something else."""
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
