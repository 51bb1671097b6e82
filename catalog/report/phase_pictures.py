"""Figures about the phases of one zoo: landscape metrics, regions, changes in training.

The figures use only the columns of `models`. Like the functions of
`catalog.report.pictures`, the functions here return a matplotlib figure, or None if the zoo
has nothing to draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from catalog.catalog import Catalog
from catalog.report.heat_maps import draw_maps, name_axes, panels
from catalog.report.phase_drawing import draw_legend, draw_phases, draw_shares
from catalog.report.phase_grid import MAPS, grid_cells
from catalog.rows import Rows

MOST_STEPS = 6
"""Maximum number of small maps in the row over training."""

_LANDSCAPE = ("hessian_trace", "hessian_top_eig", "mode_connectivity", "logit_cka")


def landscape_maps(catalog: Catalog, zoo: str, step: int | None = None) -> Any:
    """Draw heat maps of landscape metrics, loss and accuracy, as means over seeds.

    Parameters
    ----------
    step : int, optional
        Step of the checkpoints. Default: the last checkpoint of each run.
    """
    rows = grid_cells(catalog, zoo, _at(step))
    measured = _measured(rows)
    if not any(name in _LANDSCAPE for name, _, _ in measured):
        return None
    figure, axes = panels(len(measured), 3, 3.7, 3.1)
    draw_maps(axes, rows, measured)
    name_axes(catalog, zoo, axes[: len(measured)])
    return figure


def phase_regions(catalog: Catalog, zoo: str, step: int | None = None) -> Any:
    """Draw the phases over the grid, with boundaries, uncertain and unmeasured cells."""
    rows = grid_cells(catalog, zoo, _at(step))
    if not any(row["labelled"] for row in rows):
        return None
    figure, axes = panels(1, 1, 6.6, 4.4)
    draw_phases(axes[0], rows)
    name_axes(catalog, zoo, axes)
    draw_legend(axes[0], [r["phase"] for r in rows if r["labelled"]], doubted=True)
    return figure


def phase_movement(catalog: Catalog, zoo: str) -> Any:
    """Draw maps of the phases at several checkpoints, and shares at all checkpoints."""
    rows = [r for r in grid_cells(catalog, zoo, "true") if r["labelled"]]
    times = sorted({row["moment"] for row in rows})
    if len(times) < 2:
        return None
    picked = np.unique(np.linspace(0, len(times) - 1, MOST_STEPS).round().astype(int))
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.1 * len(picked), 4.7), layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.1))[:, 0]
    axes = upper.subplots(1, len(picked), squeeze=False)[0]
    for ax, i in zip(axes, picked, strict=True):
        draw_phases(ax, [r for r in rows if r["moment"] == times[i]], numerals=7)
        ax.set_title(_time_label(times[i]), fontsize=8)
        ax.set_xticks([])
        ax.set_yticks([])
    draw_shares(lower.subplots(), rows, times)
    return figure


def phase_diagram(catalog: Catalog, zoo: str, step: int | None = None) -> Any:
    """Draw the phase regions, the metrics behind them and the shares over training."""
    rows = grid_cells(catalog, zoo, _at(step))
    if not any(row["labelled"] for row in rows):
        return None
    measured = _measured(rows)
    all_cells = [r for r in grid_cells(catalog, zoo, "true") if r["labelled"]]
    times = sorted({row["moment"] for row in all_cells})
    from matplotlib.figure import Figure

    lines = -(-len(measured) // 3)
    heights = [4.2] + [2.9 * lines] * (lines > 0) + [2.6] * (len(times) > 1)
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    top = parts[0].subplots()
    draw_phases(top, rows)
    draw_legend(top, [r["phase"] for r in rows if r["labelled"]], doubted=True)
    parts[0].suptitle(f"Phases of {zoo}", fontsize=11)
    axes = list(parts[1].subplots(lines, 3, squeeze=False).flat) if lines else []
    draw_maps(axes, rows, measured)
    for ax in axes[len(measured) :]:
        ax.set_axis_off()
    name_axes(catalog, zoo, [top, *axes[: len(measured)]])
    if len(times) > 1:
        draw_shares(parts[-1].subplots(), all_cells, times)
    return figure


def _at(step: int | None) -> str:
    return "last" if step is None else f"step = {step}"


def _time_label(time: float) -> str:
    return f"after {time:.1%}" if time <= 1 else f"step {time:,.0f}"


def _measured(rows: Rows) -> list[tuple[str, str, str]]:
    return [m for m in MAPS if any(row[m[0]] is not None for row in rows)]
