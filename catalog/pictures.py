"""Figures about one zoo: heat maps over its grid, how its accuracies are distributed.

Every function takes an open catalogue and a zoo's name, and returns a matplotlib figure,
or None where the zoo has nothing to draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from catalog.catalog import Catalog
from catalog.dtypes import Array

MAPS = (
    ("train_loss", "training loss (nats)", "viridis_r"),
    ("test_accuracy", "test accuracy", "viridis"),
    ("gap", "training - test accuracy", "magma_r"),
)
"""Measure, title and colours of each heat map."""

MOST_NUMBERS = 100
"""A grid with more cells is drawn without numbers."""

_LAST = "step = steps"

_CELLS = """
SELECT load, temperature, avg({measure}) AS value, count({measure}) < count(*) AS lost
FROM (SELECT *, train_accuracy - test_accuracy AS gap FROM models)
WHERE zoo = {zoo} AND {at} AND load IS NOT NULL AND temperature IS NOT NULL
GROUP BY load, temperature ORDER BY load, temperature"""

Rows = list[dict[str, Any]]


def phase_maps(catalog: Catalog, zoo: str) -> Any:
    """Heat maps of loss, accuracy and gap at the end of training, means over seeds."""
    grids = [
        (title, colours, _cells(catalog, zoo, measure, _LAST), None)
        for measure, title, colours in MAPS
    ]
    return _heat_maps(catalog, zoo, grids)


def moving_maps(catalog: Catalog, zoo: str) -> Any:
    """Heat maps of test accuracy at up to five checkpoints."""
    query = (
        "SELECT DISTINCT round(step / steps, 4) AS share FROM models "
        f"WHERE zoo = {_text(zoo)} AND steps > 0 ORDER BY 1"
    )
    shares = [row["share"] for row in rows_of(catalog, query)]
    if len(shares) < 2:
        return None
    at = np.unique(np.linspace(0, len(shares) - 1, 5).round().astype(int))
    grids = []
    for share in (shares[i] for i in at):
        when = f"steps > 0 AND round(step / steps, 4) = {share}"
        cells = _cells(catalog, zoo, "test_accuracy", when)
        grids.append((f"after {share:.1%} of training", "viridis", cells, (0.0, 1.0)))
    return _heat_maps(catalog, zoo, grids)


def accuracies(catalog: Catalog, zoo: str) -> Any:
    """Histogram of test accuracy at the end, and training against test accuracy."""
    rows = rows_of(
        catalog,
        f"SELECT train_accuracy, test_accuracy FROM models WHERE zoo = {_text(zoo)} "
        f"AND {_LAST} AND test_accuracy IS NOT NULL",
    )
    if not rows:
        return None
    figure, (counts, scatter) = _figure(2, 4.2, 2.8)
    test = np.array([row["test_accuracy"] for row in rows])
    train = np.array([row["train_accuracy"] for row in rows], float)
    counts.hist(test, bins=40, color="#31688e")
    counts.set_ylabel("networks", fontsize=8)
    counts.set_title(
        f"{len(test):,} networks: median {np.median(test):.3f}, "
        f"from {test.min():.3f} to {test.max():.3f}",
        fontsize=8,
    )
    thin = slice(None, None, max(1, len(test) // 5000))
    scatter.plot(train[thin], test[thin], ".", markersize=3, alpha=0.5, color="#31688e")
    scatter.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    scatter.set_xlabel("training accuracy", fontsize=8)
    scatter.set_ylabel("test accuracy", fontsize=8)
    counts.set_xlabel("test accuracy", fontsize=8)
    for axes in (counts, scatter):
        axes.tick_params(labelsize=7)
    return figure


def rows_of(catalog: Catalog, query: str) -> Rows:
    """Rows of a query as dictionaries."""
    rows: Rows = catalog.sql(query).to_arrow_table().to_pylist()
    return rows


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _cells(catalog: Catalog, zoo: str, measure: str, at: str) -> Rows:
    return rows_of(catalog, _CELLS.format(measure=measure, zoo=_text(zoo), at=at))


def _heat_maps(catalog: Catalog, zoo: str, grids: list[Any]) -> Any:
    if not any(cells for _, _, cells, _ in grids):
        return None
    names = rows_of(
        catalog,
        "SELECT any_value(load_axis) AS load, any_value(temperature_axis) AS temperature "
        f"FROM runs WHERE zoo = {_text(zoo)}",
    )[0]
    figure, axes = _figure(len(grids), 3.5, 3.0)
    for ax, (title, colours, cells, limits) in zip(axes, grids, strict=True):
        loads = sorted({row["load"] for row in cells})
        heats = sorted({row["temperature"] for row in cells})
        grid = np.full((len(heats), len(loads)), np.nan)
        for row in cells:
            value = np.nan if row["value"] is None else row["value"]
            grid[heats.index(row["temperature"]), loads.index(row["load"])] = value
        low, high = limits or (None, None)
        image = ax.imshow(
            grid, origin="lower", aspect="auto", cmap=colours, vmin=low, vmax=high
        )
        ax.set_facecolor("0.85")
        ax.set_xticks(range(len(loads)), [f"{v:g}" for v in loads], rotation=45, fontsize=7)
        ax.set_yticks(range(len(heats)), [f"{v:g}" for v in heats], fontsize=7)
        ax.set_title(title, fontsize=9)
        ax.set_xlabel(f"load: {names['load']}", fontsize=8)
        for row in cells:
            if row["lost"]:
                at = loads.index(row["load"]) - 0.5, heats.index(row["temperature"]) - 0.5
                ax.add_patch(_hatched(at))
        if grid.size <= MOST_NUMBERS:
            _numbers(ax, grid, image)
        bar = figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03)
        bar.ax.tick_params(labelsize=7)
    axes[0].set_ylabel(f"temperature: {names['temperature']}", fontsize=8)
    return figure


def _numbers(ax: Any, grid: Array, image: Any) -> None:
    for (y, x), value in np.ndenumerate(grid):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            colour = "w" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "k"
            text = f"{value:.2f}".replace("0.", ".", 1)
            ax.text(x, y, text, ha="center", va="center", fontsize=5.5, color=colour)


def _hatched(at: tuple[float, float]) -> Any:
    """Mark of a cell in which some networks diverged: its mean is over the others."""
    from matplotlib.patches import Rectangle

    return Rectangle(at, 1, 1, fill=False, hatch="///", edgecolor="0.5", linewidth=0)


def _figure(count: int, wide: float, high: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(wide * count, high), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    return figure, list(axes)
