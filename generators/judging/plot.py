"""Plot of accuracy against novelty, with the null frontier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catalog import CatalogError
from catalog.report.figure_text import save_figure
from catalog.storage.whole_file import whole_file
from generators.judging.assessment import Assessment
from generators.judging.judged import SPREADS

COLOURS = ("#d95f02", "#7570b3", "#e7298a", "#66a61e")
"""Colours of the sets of samples."""
GREY, HELD = "0.55", "#1b9e77"


def accuracy_novelty(assessments: Sequence[Assessment]) -> Any:
    """Return a matplotlib figure with one panel for each calibration.

    Grey points are nulls, and the grey line is their frontier; no null reaches the region
    above and to the right of it. Dotted lines mark the accuracy that counts as performant
    and the required novelties.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(assessments), 4.0), layout="constrained")
    axes = figure.subplots(1, len(assessments), squeeze=False)[0]
    for ax, assessment in zip(axes, assessments, strict=True):
        for judged in assessment.nulls:
            ax.plot(*_centre(judged), ".", color=GREY, markersize=5)
        for colour, judged in zip(COLOURS, assessment.samples, strict=False):
            ax.plot(
                judged.novelty, judged.accuracy, ".", color=colour, alpha=0.25, markersize=3
            )
            ax.plot(*_centre(judged), "o", color=colour, label=judged.label)
        ax.plot(
            *_centre(assessment.heldout), "D", color=HELD, label=assessment.heldout.label
        )
        ax.axhline(assessment.heldout.bar, color="0.3", linestyle=":", linewidth=0.8)
        _draw_frontier(ax, assessment)
        for spread in SPREADS:
            ax.axvline(spread, color="0.3", linestyle=":", linewidth=0.5)
        ax.set_xlim(left=-0.02)
        ax.set_xlabel("novelty: distance to the nearest training network", fontsize=8)
        ax.set_title(assessment.calibration or "uncalibrated", fontsize=9)
        ax.tick_params(labelsize=7)
        ax.legend(fontsize=7, loc="lower left")
    axes[0].set_ylabel("test accuracy", fontsize=8)
    return figure


def save_plot(assessments: Sequence[Assessment], path: str | Path) -> None:
    """Write the plot to a file, by its extension: .svg, .png or .pdf.

    Raises
    ------
    CatalogError
        If the extension is another, or the file cannot be written.
    """
    check_plot(path)
    figure, kind = accuracy_novelty(assessments), Path(path).suffix[1:]
    with whole_file(path, instead="name another file with --plot FILE") as file:
        save_figure(figure, file, format=kind, dpi=110)


def check_plot(path: str | Path) -> None:
    """Check that a plot can be written to a file of this name.

    Raises
    ------
    CatalogError
        If the extension is not .svg, .png or .pdf, or the folder is missing.
    """
    path = Path(path)
    if path.suffix not in (".svg", ".png", ".pdf"):
        raise CatalogError(f"--plot takes a .svg, .png or .pdf file. Got {str(path)!r}.")
    if not path.parent.is_dir():
        raise CatalogError(
            f"There is no folder {str(path.parent)!r} for --plot. Create it first."
        )


def _centre(judged: Any) -> tuple[float, float]:
    return float(np.median(judged.novelty)), float(judged.accuracy.mean())


def _draw_frontier(ax: Any, assessment: Assessment) -> None:
    points = assessment.frontier.points
    if not points:
        return
    x, y = [0.0, *(p[0] for p in points)], [points[0][1], *(p[1] for p in points)]
    right = max(x[-1], ax.get_xlim()[1])  # constant beyond the last null, see `Frontier`
    ax.plot([*x, right], [*y, y[-1]], color=GREY, linewidth=1, label="best nulls")
