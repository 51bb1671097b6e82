"""Figures about the phases of one zoo: landscape metrics, regions, changes in training.

The figures use only the columns of `models`. Like the functions of
`catalog.report.pictures`, the functions here return a matplotlib figure, or None if the zoo
has nothing to draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from catalog.catalog import Catalog
from catalog.dtypes import Array
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

UNMEASURED = "0.82"
"""Grey of a cell without a phase."""

DOUBTED = (
    "TRY_CAST(phase_stability AS DOUBLE) < 0.9 "
    "OR abs(TRY_CAST(phase_distance AS DOUBLE)) < 0.5"
)
"""SQL condition of hatched cells: random draws disagree, or a boundary is near."""

MOST_STEPS = 6
"""Maximum number of small maps in the row over training."""

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

_HATCH: dict[str, Any] = {"linewidth": 0, "edgecolor": (1, 1, 1, 0.55)}
_LOGARITHMIC = ("train_loss", "hessian_trace", "hessian_top_eig")
_LANDSCAPE = ("hessian_trace", "hessian_top_eig", "mode_connectivity", "logit_cka")

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
    _draw_phases(axes[0], rows)
    name_axes(catalog, zoo, axes)
    _legend(axes[0], [r["phase"] for r in rows if r["labelled"]], doubted=True)
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
        _draw_phases(ax, [r for r in rows if r["moment"] == times[i]], numerals=7)
        ax.set_title(_time_label(times[i]), fontsize=8)
        ax.set_xticks([])
        ax.set_yticks([])
    _draw_shares(lower.subplots(), rows, times)
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
    _draw_phases(top, rows)
    _legend(top, [r["phase"] for r in rows if r["labelled"]], doubted=True)
    parts[0].suptitle(f"Phases of {zoo}", fontsize=11)
    axes = list(parts[1].subplots(lines, 3, squeeze=False).flat) if lines else []
    draw_maps(axes, rows, measured)
    for ax in axes[len(measured) :]:
        ax.set_axis_off()
    name_axes(catalog, zoo, [top, *axes[: len(measured)]])
    if len(times) > 1:
        _draw_shares(parts[-1].subplots(), all_cells, times)
    return figure


def _at(step: int | None) -> str:
    return "last" if step is None else f"step = {step}"


def _time_label(time: float) -> str:
    return f"after {time:.1%}" if time <= 1 else f"step {time:,.0f}"


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


def _measured(rows: Rows) -> list[tuple[str, str, str]]:
    return [m for m in MAPS if any(row[m[0]] is not None for row in rows)]


def _axis_values(rows: Rows) -> tuple[list[float], list[float]]:
    return sorted({r["load"] for r in rows}), sorted({r["temperature"] for r in rows})


def _grid(rows: Rows, column: str) -> Array:
    loads, temperatures = _axis_values(rows)
    grid = np.full((len(temperatures), len(loads)), np.nan)
    for row in rows:
        if row[column] is not None:
            y, x = temperatures.index(row["temperature"]), loads.index(row["load"])
            grid[y, x] = row[column]
    return grid


def draw_maps(axes: list[Any], rows: Rows, maps: list[tuple[str, str, str]]) -> None:
    """Draw a heat map of each column; diverging colour maps are centred at 0."""
    for ax, (name, title, colours) in zip(axes, maps, strict=False):
        grid = _grid(rows, name)
        negative = np.zeros(grid.shape, bool)
        if name in _LOGARITHMIC:
            negative = grid <= 0
            grid = np.log10(np.where(grid > 0, grid, np.nan))
        low, high = None, None
        if colours.startswith("RdBu") and np.isfinite(grid).any():
            high = float(np.nanmax(np.abs(grid))) or 1.0
            low = -high
        image = ax.imshow(
            grid, origin="lower", aspect="auto", cmap=colours, vmin=low, vmax=high
        )
        ax.set_facecolor(UNMEASURED)
        for y, x in np.argwhere(negative):
            ax.text(x, y, "-", ha="center", va="center", fontsize=9, color="#b30000")
        bar = ax.figure.colorbar(image, ax=ax, pad=0.02)
        bar.ax.tick_params(labelsize=7)
        if name == "train_loss":
            bar.ax.yaxis.set_major_formatter(lambda power, _: f"{10**power:.2g}")
        if negative.any():
            title += "\n- : not positive"
        ax.set_title(title, fontsize=9)
        _ticks(ax, rows)


def _draw_phases(ax: Any, rows: Rows, numerals: int = 13) -> None:
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.patches import Rectangle

    order = list(COLOURS)
    loads, temperatures = _axis_values(rows)
    grid = np.full((len(temperatures), len(loads)), -1)
    for row in rows:
        if row["labelled"]:
            y, x = temperatures.index(row["temperature"]), loads.index(row["load"])
            grid[y, x] = order.index(row["phase"]) if row["phase"] in order else len(order)
            if row["doubted"] and row["phase"]:
                ax.add_patch(
                    Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, hatch="////", **_HATCH)
                )
    colours = ListedColormap([*COLOURS.values(), UNMEASURED])
    norm = BoundaryNorm(np.arange(len(order) + 2) - 0.5, len(order) + 1)
    masked = np.ma.masked_less(grid, 0)
    ax.imshow(masked, origin="lower", aspect="auto", cmap=colours, norm=norm)
    for y, x in np.argwhere(grid == len(order)):
        ax.text(x, y, "x", ha="center", va="center", fontsize=8, color="0.35")
    _boundaries(ax, grid)
    for k, name in enumerate(order):
        for size, (y, x) in _regions(grid == k):
            if size >= 4 or size == (grid == k).sum():
                ax.text(
                    x, y, name, ha="center", va="center", fontsize=numerals,
                    fontweight="bold", color="white", family="serif",
                )  # fmt: skip
    _ticks(ax, rows)


def _boundaries(ax: Any, grid: Array) -> None:
    """Draw lines between neighbouring cells of different phases."""
    lines = [
        ((x + 0.5, x + 0.5), (y - 0.5, y + 0.5))
        for y, x in np.argwhere(grid[:, 1:] != grid[:, :-1])
    ]
    lines += [
        ((x - 0.5, x + 0.5), (y + 0.5, y + 0.5))
        for y, x in np.argwhere(grid[1:] != grid[:-1])
    ]
    for across, up in lines:
        ax.plot(across, up, color="black", linewidth=1.6, solid_capstyle="round")


def _regions(mask: Array) -> list[tuple[int, tuple[int, int]]]:
    """Size of each connected region, and its cell where a numeral fits best."""
    unvisited = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    regions = []
    while unvisited:
        region, edge = set(), [unvisited.pop()]
        while edge:
            y, x = edge.pop()
            region.add((y, x))
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & unvisited
            unvisited -= near
            edge += near
        centre = np.mean(sorted(region), 0)
        core = _core(region)
        cell = min(sorted(core), key=lambda yx: ((np.array(yx) - centre) ** 2).sum())
        regions.append((len(region), cell))
    return regions


def _core(region: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Cells of a region that survive the most erosions of its edge."""
    offsets = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    while True:
        eroded = {
            (y, x)
            for y, x in region
            if all((y + dy, x + dx) in region for dy, dx in offsets)
        }
        if not eroded:
            return region
        region = eroded


def _draw_shares(ax: Any, rows: Rows, times: list[float]) -> None:
    """Draw the stacked shares of cells per phase over training."""
    order = [*COLOURS, None]
    counts = np.array(
        [
            [sum(r["moment"] == t and r["phase"] == name for r in rows) for t in times]
            for name in order
        ],
        float,
    )
    shares = counts / counts.sum(0)
    epochs = [
        [r["epoch"] for r in rows if r["moment"] == t and r["epoch"] is not None]
        for t in times
    ]
    x = [np.mean(e) for e in epochs] if all(epochs) else times
    ax.stackplot(x, shares, colors=[*COLOURS.values(), UNMEASURED], linewidth=0)
    for t in x:
        ax.axvline(t, color="white", linewidth=0.4, alpha=0.6)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(0, 1)
    ax.tick_params(labelsize=7)
    ax.set_xlabel("epochs" if all(epochs) else "share of training", fontsize=8)
    ax.set_ylabel("share of cells", fontsize=8)
    _legend(ax, [r["phase"] for r in rows], doubted=False)


def _legend(ax: Any, phases: list[str | None], *, doubted: bool) -> None:
    """Add a legend of the phases that occur; with counts and the hatch if ``doubted``."""
    from matplotlib.patches import Patch

    counts = {name: phases.count(name) for name in COLOURS}
    patches = [
        Patch(color=COLOURS[name], label=f"{name}  {NAMES[name]}" + (f" ({n})" * doubted))
        for name, n in counts.items()
        if n
    ]
    if None in phases:
        number = f" ({phases.count(None)})" * doubted
        patches.append(Patch(color=UNMEASURED, label=f"x  unmeasured{number}"))
    if doubted:
        patches.append(
            Patch(facecolor="0.55", edgecolor="white", hatch="////", label="uncertain")
        )
    ax.legend(
        handles=patches, fontsize=8, frameon=False, loc="center left",
        bbox_to_anchor=(1.01, 0.5),
    )  # fmt: skip


def _ticks(ax: Any, rows: Rows) -> None:
    loads, temperatures = _axis_values(rows)
    ax.set_xticks(range(len(loads)), [f"{v:g}" for v in loads], rotation=45, fontsize=7)
    ax.set_yticks(range(len(temperatures)), [f"{v:g}" for v in temperatures], fontsize=7)


def name_axes(catalog: Catalog, zoo: str, axes: list[Any]) -> None:
    """Label axes with the load axis and the temperature axis of a zoo."""
    query = (
        "SELECT any_value(load_axis) AS load, any_value(temperature_axis) AS temperature "
        "FROM runs WHERE zoo = :zoo"
    )
    names = rows_of(catalog, query, zoo=zoo)[0]
    for ax in axes:
        ax.set_xlabel(f"load: {names['load']}", fontsize=8)
        ax.set_ylabel(f"temperature: {names['temperature']}", fontsize=8)


def panels(count: int, across: int, wide: float, high: float) -> tuple[Any, list[Any]]:
    """Return a figure and its ``count`` axes, with at most ``across`` in a row.

    Parameters
    ----------
    count : int
        Number of axes in use; the rest of the last row is empty.
    across : int
        Maximum number of axes in a row.
    wide, high : float
        Size of one axes in inches.
    """
    from matplotlib.figure import Figure

    across = min(count, across)
    lines = -(-count // across)
    figure = Figure(figsize=(wide * across, high * lines), layout="constrained")
    axes = list(figure.subplots(lines, across, squeeze=False).flat)
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes
