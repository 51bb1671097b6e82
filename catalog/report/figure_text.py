"""Saving of figures with literal text: a name is never drawn as a formula.

Matplotlib reads text between two dollar signs as TeX, and draws control characters as boxes
or fails. `save_figure` makes every text of a finished figure `printable` and literal. Tick
labels that matplotlib generates stay formulas, because powers of ten are formulas.
"""

from __future__ import annotations

from typing import IO, Any

from catalog.printable import printable_lines


def save_figure(figure: Any, file: IO[Any], *, format: str, **options: Any) -> None:
    """Save a figure to an open file, with all text drawn literally.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Figure to save; its texts are changed.
    file : file
        Open text or binary file, whichever the format needs.
    format : str
        Format of the file, such as ``"svg"``.
    options
        Further arguments of `Figure.savefig`.
    """
    from matplotlib.axis import Axis
    from matplotlib.text import Text

    ticks: set[Any] = set()
    for axis in figure.findobj(Axis):
        _escape_fixed_labels(axis)
        ticks |= {*axis.findobj(Text)} - {axis.label}
    for text in figure.findobj(Text):
        text.set_usetex(False)
        if text not in ticks:
            text.set_parse_math(False)
            text.set_text(_shown(text.get_text()))
    figure.savefig(file, format=format, **options)


def _escape_fixed_labels(axis: Any) -> None:
    """Make explicit tick labels literal, such as those of ``set_xticks(x, labels)``."""
    from matplotlib.ticker import FuncFormatter

    formatter = axis.get_major_formatter()
    if isinstance(formatter, FuncFormatter):
        # Drawing creates new tick texts, so the dollar signs must be escaped in the labels.
        axis.set_major_formatter(
            lambda value, position: _shown(formatter(value, position)).replace("$", r"\$")
        )


def _shown(text: str) -> str:
    return "\n".join(printable_lines(text))
