"""Figures into files: what a name in them holds is drawn as it is, never as a formula.

Matplotlib takes what stands between two dollars for TeX, and draws control characters as
boxes, if it does not fail. Here every text of a finished figure is made `printable` and
literal. Labels of ticks that matplotlib makes itself stay formulas: powers of ten are some.
"""

from __future__ import annotations

from typing import IO, Any

from catalog.printable import printable_lines


def save_figure(figure: Any, file: IO[Any], *, format: str, **options: Any) -> None:
    """Draw a figure into an open file, with all of its text as text.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    file : file
        Of text or of bytes, as the format asks.
    format : str
        Such as "svg".
    options
        Of `Figure.savefig`.
    """
    from matplotlib.axis import Axis
    from matplotlib.text import Text

    ticks: set[Any] = set()
    for axis in figure.findobj(Axis):
        _write_given_labels(axis)
        ticks |= {*axis.findobj(Text)} - {axis.label}
    for text in figure.findobj(Text):
        text.set_usetex(False)
        if text not in ticks:
            text.set_parse_math(False)
            text.set_text(_shown(text.get_text()))
    figure.savefig(file, format=format, **options)


def _write_given_labels(axis: Any) -> None:
    """Make labels literal that were given, as by ``set_xticks(places, labels)``."""
    from matplotlib.ticker import FuncFormatter

    given = axis.get_major_formatter()
    if isinstance(given, FuncFormatter):
        # Ticks are made anew as they are drawn, so the dollars themselves are escaped.
        axis.set_major_formatter(
            lambda value, position: _shown(given(value, position)).replace("$", r"\$")
        )


def _shown(text: str) -> str:
    return "\n".join(printable_lines(text))
