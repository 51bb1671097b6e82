"""Pictures of the phases of zoos, drawn as in the report."""

from __future__ import annotations

import io
from collections.abc import Iterable
from importlib.util import find_spec
from typing import NamedTuple

from catalog.catalog import Catalog
from catalog.fitted.unexpected_content import as_written
from catalog.report.figure_text import save_figure
from catalog.report.phase_grid import LABELLED
from catalog.report.phase_pictures import phase_regions
from catalog.rows import rows_of

MOST_PICTURES = 12
"""Maximum number of zoos whose phases are drawn."""

_STEP = f"""
SELECT step, count(*) AS labelled FROM (SELECT zoo, step, phase::VARCHAR AS phase
FROM models) WHERE zoo = :zoo AND {LABELLED}
GROUP BY step ORDER BY labelled DESC, step DESC LIMIT 1"""


class Picture(NamedTuple):
    """Picture of the phases of a zoo.

    Attributes
    ----------
    zoo : str
    step : int or None
        Step of the checkpoints; None for the last checkpoint of every run.
    png : bytes
    """

    zoo: str
    step: int | None
    png: bytes


def can_draw() -> bool:
    """Report if the library that draws is installed."""
    return find_spec("matplotlib") is not None


def draw_phases(catalog: Catalog, zoos: Iterable[str]) -> list[Picture]:
    """Draw the phases of the first `MOST_PICTURES` zoos that have a grid with phases.

    The phases of the last checkpoints are drawn, or if these have none, those of the step
    that has most. Without matplotlib nothing is drawn.
    """
    pictures: list[Picture] = []
    for zoo in zoos if can_draw() else ():
        if len(pictures) == MOST_PICTURES:
            break
        advice = "To publish without it, remove its runs: phasezoo rm."
        with as_written(f"The zoo {zoo!r}, its phases,", "a zoo", advice):
            step, figure = None, phase_regions(catalog, zoo)
            if figure is None:
                steps = rows_of(catalog, _STEP, zoo=zoo)
                step = steps[0]["step"] if steps else None
                figure = phase_regions(catalog, zoo, step) if steps else None
            if figure is not None:
                pictures.append(Picture(zoo, step, _png(figure)))
    return pictures


def _png(figure: object) -> bytes:
    file = io.BytesIO()
    # The version of the library would change the bytes of equal pictures.
    save_figure(figure, file, format="png", dpi=110, metadata={"Software": None})
    return file.getvalue()
