"""Drawing of phases: regions over the grid, shares over training, and their legend."""

from __future__ import annotations

from typing import Any

import numpy as np

from catalog.dtypes import Array
from catalog.report.heat_maps import UNMEASURED, axis_values, draw_ticks
from catalog.report.phase_grid import COLOURS, NAMES
from catalog.rows import Rows

_HATCH: dict[str, Any] = {"linewidth": 0, "edgecolor": (1, 1, 1, 0.55)}


def draw_phases(ax: Any, rows: Rows, numerals: int = 13) -> None:
    """Draw a map of the phases, with boundaries, numerals and hatched uncertain cells."""
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.patches import Rectangle

    order = list(COLOURS)
    loads, temperatures = axis_values(rows)
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
    draw_ticks(ax, rows)


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


def draw_shares(ax: Any, rows: Rows, times: list[float]) -> None:
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
    draw_legend(ax, [r["phase"] for r in rows], doubted=False)


def draw_legend(ax: Any, phases: list[str | None], *, doubted: bool) -> None:
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
