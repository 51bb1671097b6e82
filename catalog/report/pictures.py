"""Figures about the metrics of one zoo: heat maps over the grid, and distributions.

Every public function takes an open catalogue and the name of a zoo, and returns a
matplotlib figure, or None if the zoo has nothing to draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from catalog.catalog import Catalog
from catalog.dtypes import Array
from catalog.report.heat_maps import axis_names, axis_values, draw_ticks, grid_of
from catalog.rows import Rows, rows_of
from catalog.show.zoo import judging_columns, last_checkpoints, varied

MAPS = (
    ("train_loss", "training loss (nats)", "viridis_r"),
    ("test_accuracy", "test accuracy", "viridis"),
    ("gap", "training - test accuracy", "magma_r"),
)
"""Measure, title and colour map of each heat map."""

MOST_NUMBERS = 100
"""Maximum number of cells of a grid that is drawn with numbers."""

MOST_VALUES = 30
"""Maximum number of values of a column that is drawn as an axis of groups."""

BLUE = "#31688e"

_LAST = "last AND (steps IS NULL OR step = steps)"

_CELLS = """
SELECT load, temperature, avg({measure}) AS value, count({measure}) < count(*) AS lost
FROM (SELECT *, train_accuracy - test_accuracy AS gap,
    step = max(step) OVER (PARTITION BY run_id) AS last FROM models WHERE zoo = :zoo)
WHERE {where} AND load IS NOT NULL AND temperature IS NOT NULL
GROUP BY load, temperature ORDER BY load, temperature"""


def phase_maps(catalog: Catalog, zoo: str) -> Any:
    """Draw heat maps of loss, accuracy and gap after training, as means over seeds."""
    grids = [
        (title, colours, _cells(catalog, zoo, measure, _LAST), None)
        for measure, title, colours in MAPS
    ]
    measured = [g for g in grids if any(cell["value"] is not None for cell in g[2])]
    return _heat_maps(catalog, zoo, measured)


def moving_maps(catalog: Catalog, zoo: str) -> Any:
    """Draw heat maps of test accuracy at up to five checkpoints."""
    query = (
        "SELECT DISTINCT round(step / steps, 4) AS share FROM models "
        "WHERE zoo = :zoo AND steps > 0 ORDER BY 1"
    )
    shares = [row["share"] for row in rows_of(catalog, query, zoo=zoo)]
    if len(shares) < 2:
        return None
    picked = np.unique(np.linspace(0, len(shares) - 1, 5).round().astype(int))
    grids = []
    for share in (shares[i] for i in picked):
        condition = f"steps > 0 AND round(step / steps, 4) = {share}"
        cells = _cells(catalog, zoo, "test_accuracy", condition)
        grids.append((f"after {share:.1%} of training", "viridis", cells, (0.0, 1.0)))
    return _heat_maps(catalog, zoo, grids)


def draw_distributions(catalog: Catalog, zoo: str) -> Any:
    """Draw histograms of the judging columns, and test accuracy over training accuracy."""
    columns = judging_columns(catalog, zoo)
    if not columns:
        return None
    rows = rows_of(catalog, last_checkpoints("*"), zoo=zoo)
    accuracies = _pairs(rows, "train_accuracy", "test_accuracy")
    figure, axes = _figure(len(columns) + bool(len(accuracies)), 3.1, 2.6)
    for ax, column in zip(axes, columns, strict=False):
        values = np.array([r[column] for r in rows if r[column] is not None], float)
        values = values[np.isfinite(values)]
        ax.hist(values, bins=30, color=BLUE)
        ax.set_xlabel(column.replace("_", " "), fontsize=8)
        if len(values):
            text = f"{len(values):,} networks: median {np.median(values):.3g}\n"
            text += f"from {values.min():.3g} to {values.max():.3g}"
            ax.set_title(text, fontsize=8)
    axes[0].set_ylabel("networks", fontsize=8)
    if len(accuracies):
        sample = accuracies[:: max(1, len(accuracies) // 5000)]
        axes[-1].plot(*sample.T, ".", markersize=3, alpha=0.5, color=BLUE)
        ends = [accuracies.min(), accuracies.max()]
        axes[-1].plot(ends, ends, color="0.6", linewidth=0.8)
        axes[-1].set_xlabel("training accuracy", fontsize=8)
        axes[-1].set_ylabel("test accuracy", fontsize=8)
    return figure


def by_column(catalog: Catalog, zoo: str) -> Any:
    """Draw the first judging column over up to four columns that vary among the runs.

    Only for zoos without a grid, whose heat maps show the varied settings otherwise.
    """
    grid = "SELECT 1 FROM runs WHERE zoo = :zoo AND load IS NOT NULL LIMIT 1"
    judging = judging_columns(catalog, zoo)
    if not judging or rows_of(catalog, grid, zoo=zoo):
        return None
    groups = [r for r in varied(catalog, zoo) if r["values"] <= MOST_VALUES][:4]
    if not groups:
        return None
    metric = judging[0]
    rows = rows_of(catalog, last_checkpoints("*"), zoo=zoo)
    figure, axes = _figure(len(groups), 3.1, 2.6)
    rng = np.random.default_rng(0)
    for ax, group in zip(axes, groups, strict=True):
        column = group["column"]
        complete = [r for r in rows if r[column] is not None and r[metric] is not None]
        values = sorted({row[column] for row in complete})
        x = np.array([values.index(row[column]) for row in complete], float)
        x += rng.uniform(-0.15, 0.15, len(x))
        ax.plot(x, [r[metric] for r in complete], ".", markersize=4, alpha=0.5, color=BLUE)
        names = [f"{v:g}" if isinstance(v, int | float) else str(v)[:16] for v in values]
        ax.set_xticks(range(len(values)), names, rotation=45, ha="right", fontsize=7)
        ax.set_xlabel(column, fontsize=8)
    axes[0].set_ylabel(metric.replace("_", " "), fontsize=8)
    return figure


def _pairs(rows: Rows, first: str, second: str) -> Array:
    pairs = [(r[first], r[second]) for r in rows if None not in (r[first], r[second])]
    return np.array(pairs, float)


def _cells(catalog: Catalog, zoo: str, measure: str, where: str) -> Rows:
    return rows_of(catalog, _CELLS.format(measure=measure, where=where), zoo=zoo)


def _heat_maps(catalog: Catalog, zoo: str, grids: list[Any]) -> Any:
    if not any(cells for _, _, cells, _ in grids):
        return None
    load, temperature = axis_names(catalog, zoo)
    figure, axes = _figure(len(grids), 3.5, 3.0)
    for ax, (title, colours, cells, limits) in zip(axes, grids, strict=True):
        loads, temperatures = axis_values(cells)
        grid = grid_of(cells, "value")
        low, high = limits or (None, None)
        image = ax.imshow(
            grid, origin="lower", aspect="auto", cmap=colours, vmin=low, vmax=high
        )
        ax.set_facecolor("0.85")
        draw_ticks(ax, cells)
        ax.set_title(title, fontsize=9)
        ax.set_xlabel(load, fontsize=8)
        for row in cells:
            if row["lost"]:
                y, x = temperatures.index(row["temperature"]), loads.index(row["load"])
                ax.add_patch(_hatch((x - 0.5, y - 0.5)))
        if grid.size <= MOST_NUMBERS:
            _draw_numbers(ax, grid, image)
        bar = figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03)
        bar.ax.tick_params(labelsize=7)
    axes[0].set_ylabel(temperature, fontsize=8)
    return figure


def _draw_numbers(ax: Any, grid: Array, image: Any) -> None:
    for (y, x), value in np.ndenumerate(grid):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            colour = "w" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "k"
            text = f"{value:.2f}".replace("0.", ".", 1)
            ax.text(x, y, text, ha="center", va="center", fontsize=5.5, color=colour)


def _hatch(corner: tuple[float, float]) -> Any:
    """Mark of a cell in which some networks diverged and are left out of the mean."""
    from matplotlib.patches import Rectangle

    return Rectangle(corner, 1, 1, fill=False, hatch="///", edgecolor="0.5", linewidth=0)


def _figure(count: int, wide: float, high: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(wide * count, high), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for ax in axes:
        ax.tick_params(labelsize=7)
    return figure, list(axes)
