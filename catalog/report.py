"""One self-contained HTML page: phase diagrams, accuracy distributions, all zoos."""

from __future__ import annotations

import io
from importlib.resources import files
from pathlib import Path
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

MOST_CELLS = 24
"""A grid with more values on an axis is drawn without numbers."""


def write_report(catalog: Catalog, path: Path) -> list[str]:
    """Write the page.

    Returns
    -------
    list of str
        Names of the zoos on it.
    """
    import jinja2

    template = jinja2.Template(
        files("catalog").joinpath("report.html.jinja").read_text(), autoescape=True
    )
    zoos = _rows(catalog, _ZOOS)
    sections = [_section(catalog, zoo) for zoo in zoos]
    page = template.render(catalog=catalog, zoos=zoos, sections=sections)
    path.write_text(page)
    return [zoo["zoo"] for zoo in zoos]


_ZOOS = """
SELECT zoo, count(DISTINCT run_id) AS runs, count(*) AS checkpoints,
    min(parameters) AS smallest, max(parameters) AS largest,
    any_value(task_name) AS task, any_value(architecture_name) AS architecture,
    any_value(load_axis) AS load_axis, any_value(temperature_axis) AS temperature_axis,
    count(DISTINCT run_id) FILTER (status = 'diverged') AS diverged, max(step) AS step
FROM models GROUP BY zoo ORDER BY zoo"""

_CELLS = """
SELECT load, temperature, avg({measure}) AS value, count(*) AS runs
FROM (SELECT *, train_accuracy - test_accuracy AS gap FROM models)
WHERE zoo = {zoo} AND {at} AND load IS NOT NULL AND temperature IS NOT NULL
GROUP BY load, temperature ORDER BY load, temperature"""

_LAST = "step = steps"


def _rows(catalog: Catalog, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = catalog.sql(query).to_arrow_table().to_pylist()
    return rows


def _section(catalog: Catalog, zoo: dict[str, Any]) -> dict[str, Any]:
    name = "'" + zoo["zoo"].replace("'", "''") + "'"
    figures = [
        ("At the last checkpoint", _maps(catalog, zoo, name)),
        ("Test accuracy as training goes on", _moving(catalog, zoo, name)),
        ("How accuracies are distributed", _histogram(catalog, name)),
    ]
    return {**zoo, "figures": [(title, svg) for title, svg in figures if svg]}


def _maps(catalog: Catalog, zoo: dict[str, Any], name: str) -> str:
    grids = []
    for measure, title, colours in MAPS:
        rows = _rows(catalog, _CELLS.format(measure=measure, zoo=name, at=_LAST))
        grids.append((title, colours, rows, None))
    return _heat_maps(grids, zoo) if grids[0][2] else ""


def _moving(catalog: Catalog, zoo: dict[str, Any], name: str) -> str:
    query = (
        "SELECT DISTINCT round(step / steps, 4) AS share FROM models "
        f"WHERE zoo = {name} AND steps > 0 ORDER BY 1"
    )
    shares = [row["share"] for row in _rows(catalog, query)]
    if len(shares) < 2:
        return ""
    picked = [
        shares[i] for i in np.unique(np.linspace(0, len(shares) - 1, 5).round().astype(int))
    ]
    grids = []
    for share in picked:
        at = f"steps > 0 AND round(step / steps, 4) = {share}"
        rows = _rows(catalog, _CELLS.format(measure="test_accuracy", zoo=name, at=at))
        grids.append((f"after {share:.1%} of training", "viridis", rows, (0.0, 1.0)))
    return _heat_maps(grids, zoo) if grids[0][2] else ""


def _heat_maps(grids: list[Any], zoo: dict[str, Any]) -> str:
    figure, axes = _figure(len(grids), 3.5, 3.0)
    for ax, (title, colours, rows, limits) in zip(axes, grids, strict=True):
        loads = sorted({row["load"] for row in rows})
        heats = sorted({row["temperature"] for row in rows})
        grid = np.full((len(heats), len(loads)), np.nan)
        for row in rows:
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
        ax.set_xlabel(f"load: {zoo['load_axis']}", fontsize=8)
        _numbers(ax, grid, image)
        figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03).ax.tick_params(labelsize=7)
    axes[0].set_ylabel(f"temperature: {zoo['temperature_axis']}", fontsize=8)
    return _svg(figure)


def _numbers(ax: Any, grid: Array, image: Any) -> None:
    if max(grid.shape) > MOST_CELLS or grid.size > 100:
        return
    for (y, x), value in np.ndenumerate(grid):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
            text = f"{value:.2f}".replace("0.", ".", 1)
            ax.text(
                x,
                y,
                text,
                ha="center",
                va="center",
                fontsize=5.5,
                color="w" if dark else "k",
            )


def _histogram(catalog: Catalog, name: str) -> str:
    rows = _rows(
        catalog,
        f"SELECT train_accuracy, test_accuracy FROM models WHERE zoo = {name} "
        f"AND {_LAST} AND test_accuracy IS NOT NULL",
    )
    if not rows:
        return ""
    figure, (ax, scatter) = _figure(2, 4.2, 2.8)
    test = np.array([row["test_accuracy"] for row in rows])
    train = np.array(
        [np.nan if r["train_accuracy"] is None else r["train_accuracy"] for r in rows]
    )
    ax.hist(test, bins=40, color="#31688e")
    ax.set_xlabel("test accuracy", fontsize=8)
    ax.set_ylabel("networks", fontsize=8)
    ax.set_title(
        f"{len(test):,} networks: median {np.median(test):.3f}, "
        f"from {test.min():.3f} to {test.max():.3f}",
        fontsize=8,
    )
    step = max(1, len(test) // 5000)
    scatter.plot(train[::step], test[::step], ".", markersize=3, alpha=0.5, color="#31688e")
    scatter.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    scatter.set_xlabel("training accuracy", fontsize=8)
    scatter.set_ylabel("test accuracy", fontsize=8)
    for each in (ax, scatter):
        each.tick_params(labelsize=7)
    return _svg(figure)


def _figure(count: int, wide: float, high: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(wide * count, high), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    return figure, list(axes)


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
