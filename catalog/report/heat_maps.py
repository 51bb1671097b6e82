"""Heat maps over the grid of load and temperature."""

from __future__ import annotations

from typing import Any

import numpy as np

from catalog.catalog import Catalog
from catalog.dtypes import Array
from catalog.rows import Rows, rows_of

UNMEASURED = "0.82"
"""Grey of a cell without a phase."""

_LOGARITHMIC = ("train_loss", "hessian_trace", "hessian_top_eig")


def axis_values(rows: Rows) -> tuple[list[float], list[float]]:
    """Return the loads and the temperatures of cells, sorted."""
    return sorted({r["load"] for r in rows}), sorted({r["temperature"] for r in rows})


def grid_of(rows: Rows, column: str) -> Array:
    """Return a column as an array, temperature by load, NaN where it has no value."""
    loads, temperatures = axis_values(rows)
    grid = np.full((len(temperatures), len(loads)), np.nan)
    for row in rows:
        if row[column] is not None:
            y, x = temperatures.index(row["temperature"]), loads.index(row["load"])
            grid[y, x] = row[column]
    return grid


def draw_maps(axes: list[Any], rows: Rows, maps: list[tuple[str, str, str]]) -> None:
    """Draw a heat map of each column; diverging colour maps are centred at 0."""
    for ax, (name, title, colours) in zip(axes, maps, strict=False):
        grid = grid_of(rows, name)
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
        draw_ticks(ax, rows)


def draw_ticks(ax: Any, rows: Rows) -> None:
    """Label the ticks of a map of the grid with loads and temperatures."""
    loads, temperatures = axis_values(rows)
    ax.set_xticks(range(len(loads)), [f"{v:g}" for v in loads], rotation=45, fontsize=7)
    ax.set_yticks(range(len(temperatures)), [f"{v:g}" for v in temperatures], fontsize=7)


def axis_names(catalog: Catalog, zoo: str) -> tuple[str, str]:
    """Return the labels of the load axis and the temperature axis of a zoo."""
    query = (
        "SELECT any_value(load_axis) AS load, any_value(temperature_axis) AS temperature "
        "FROM runs WHERE zoo = :zoo"
    )
    names = rows_of(catalog, query, zoo=zoo)[0]
    return f"load: {names['load']}", f"temperature: {names['temperature']}"


def name_axes(catalog: Catalog, zoo: str, axes: list[Any]) -> None:
    """Label axes with the load axis and the temperature axis of a zoo."""
    load, temperature = axis_names(catalog, zoo)
    for ax in axes:
        ax.set_xlabel(load, fontsize=8)
        ax.set_ylabel(temperature, fontsize=8)


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
