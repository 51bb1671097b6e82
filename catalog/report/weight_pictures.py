"""Figures about the weights of one zoo: values of representative networks, norms of all.

Every public function takes an open catalogue and the name of a zoo, and returns a
matplotlib figure, or None if the zoo has no weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from catalog.catalog import Catalog
from catalog.dtypes import Array
from catalog.layout import Param
from catalog.quoting import literal
from catalog.rows import rows_of
from catalog.show.checkpoint import real
from catalog.show.representatives import representatives

MOST_TENSORS = 6
"""Maximum number of drawn tensors: the largest parameters, in the order of the layout."""

FEWEST_VALUES = 32
"""Minimum size of a drawn tensor, unless all parameters are smaller."""

COLOURS = ("#35b779", "#31688e", "#b5367a")

_NORMS = """
SELECT t.tensor, t.l2, m.run_id
FROM models m JOIN tensor_stats t USING (shard, "row")
WHERE m.zoo = :zoo AND isfinite(t.l2)
QUALIFY m.step = max(m.step) OVER (PARTITION BY m.run_id)"""


def weight_histograms(catalog: Catalog, zoo: str) -> Any:
    """Draw a row of histograms per representative network, a column per tensor."""
    chosen = [row for row in representatives(catalog, zoo)[0] if row["has_weights"]]
    if not chosen:
        return None
    names = _largest(catalog, chosen[0]["arch_id"])
    if not names:
        return None
    figure, axes = _figure(len(chosen), len(names), 1.9, 1.55)
    for i, row in enumerate(chosen):
        layout = catalog.layout(row["arch_id"])
        where = f"run_id = {literal(row['run_id'])} AND step = {row['step']}"
        tensors = catalog.select(where)[0]
        for ax, name in zip(axes[i], names, strict=True):
            if name in layout:
                _draw_histogram(ax, layout[name], tensors[name], COLOURS[i])
            else:
                ax.set_axis_off()
        axes[i, 0].set_ylabel(_label(row), fontsize=7)
    return figure


def norm_histograms(catalog: Catalog, zoo: str) -> Any:
    """Draw the distribution of each tensor's norm, with the representatives marked."""
    rows = rows_of(catalog, _NORMS, zoo=zoo)
    chosen = [row for row in representatives(catalog, zoo)[0] if row["has_weights"]]
    if not rows or not chosen:
        return None
    names = _largest(catalog, chosen[0]["arch_id"])
    names = [name for name in names if any(row["tensor"] == name for row in rows)]
    if not names:
        return None
    figure, axes = _figure(1, len(names), 1.9, 1.9)
    for ax, name in zip(axes[0], names, strict=True):
        norms = {row["run_id"]: row["l2"] for row in rows if row["tensor"] == name}
        values = np.array(list(norms.values()))
        low, high = values.min(), values.max()
        logarithmic = low > 0 and high / low > 10
        count = min(30, max(8, len(values) // 4))
        bins = np.geomspace(low, high, count + 1) if logarithmic else count
        ax.hist(values, bins=bins, color="0.7")
        if logarithmic:
            ax.set_xscale("log")
        for row, colour in zip(chosen, COLOURS, strict=False):
            if row["run_id"] in norms:
                ax.axvline(norms[row["run_id"]], color=colour, label=row["which"])
        ax.set_title(_short(name), fontsize=7)
        ax.set_xlabel("Euclidean norm", fontsize=7)
    axes[0, 0].set_ylabel("networks", fontsize=7)
    axes[0, 0].legend(fontsize=6, frameon=False)
    return figure


def _largest(catalog: Catalog, arch_id: str) -> list[str]:
    """Names of the largest parameters, in the order of the layout."""
    params = [p for p in catalog.layout(arch_id) if p.role == "parameter" and p.size]
    candidates = [p for p in params if p.size >= FEWEST_VALUES] or params
    largest = sorted(candidates, key=lambda p: -p.size)[:MOST_TENSORS]
    return [p.name for p in params if p in largest]


def _draw_histogram(ax: Any, param: Param, stored: Array, colour: str) -> None:
    values = real(stored, param.dtype)
    if values is None:
        ax.set_axis_off()
        return
    flat = values.reshape(-1).astype(np.float64)
    finite = flat[np.isfinite(flat)]
    nonfinite = len(flat) - len(finite)
    remark = f", {nonfinite:,} not finite" if nonfinite else ""
    if len(finite) and np.isfinite(finite.max() - finite.min()):
        ax.hist(finite, bins=min(40, max(5, len(finite) // 4)), color=colour)
        spread = f"std {finite.std():.3g}"
    else:
        spread = "nothing to draw"
    shape = "x".join(map(str, param.shape))
    ax.set_title(f"{_short(param.name)}  {shape}\n{spread}{remark}", fontsize=6.5)


def _label(row: dict[str, Any]) -> str:
    accuracy = row["validation_accuracy"]
    score = "" if accuracy is None else f"\nvalidation {accuracy:.3f}"
    return f"{row['which']}{score}\n{row['run_id'][:8]}@{row['step']}"


def _short(name: str) -> str:
    return name if len(name) <= 22 else "..." + name[-19:]


def _figure(rows: int, columns: int, wide: float, high: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    size = (wide * max(columns, 3), high * rows + 0.2)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.tick_params(labelsize=6)
    return figure, axes
