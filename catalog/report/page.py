"""Self-contained HTML page with the diagrams, distributions and weights of every zoo."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from importlib.resources import files
from pathlib import Path
from typing import Any

from catalog.catalog import Catalog
from catalog.console.table import cell
from catalog.errors import CatalogError
from catalog.fitted.unexpected_content import as_written
from catalog.printable import printable
from catalog.report.downstream import FIGURES as DOWNSTREAM
from catalog.report.downstream import downstream_table
from catalog.report.figure_text import save_figure
from catalog.report.phase_pictures import landscape_maps, phase_movement, phase_regions
from catalog.report.pictures import by_column, draw_distributions, moving_maps, phase_maps
from catalog.report.weight_pictures import norm_histograms, weight_histograms
from catalog.rows import rows_of
from catalog.show.zoo import describe_zoo
from catalog.storage.whole_file import whole_file

_ZOOS = """
SELECT zoo, count(DISTINCT run_id) AS runs, count(*) AS checkpoints,
    min(parameters) AS smallest, max(parameters) AS largest,
    any_value(task_name) AS task, any_value(architecture_name) AS architecture,
    count(DISTINCT run_id) FILTER (status = 'diverged') AS diverged,
    count(status) AS stated,
    bool_and(source = 'derived' AND coalesce(len(parents), 0) > 0) AS derived
FROM models GROUP BY zoo ORDER BY zoo"""

_FIGURES = (
    ("Loss and accuracy at the last checkpoint", phase_maps),
    ("Test accuracy during training", moving_maps),
    ("Phases", phase_regions),
    ("Phases during training", phase_movement),
    ("Loss landscape", landscape_maps),
    *DOWNSTREAM.items(),
    ("Distributions of the metrics", draw_distributions),
    ("Metrics by varied setting", by_column),
    ("Weights of representative networks", weight_histograms),
    ("Norms of the weights of all networks", norm_histograms),
)


def write_report(catalog: Catalog, path: Path) -> list[str]:
    """Write the report of a catalogue to an HTML file.

    Returns
    -------
    list of str
        Names of the zoos in the report.

    Raises
    ------
    CatalogError
        If the file cannot be written, or exists and is not an HTML page.
    """
    import jinja2

    _check_replaceable(Path(path))
    text = files("catalog.report").joinpath("report.html.jinja").read_text()
    template = jinja2.Template(text, autoescape=True, finalize=_finalize)
    template.globals["shown"] = _shown
    zoos = rows_of(catalog, _ZOOS)
    for zoo in zoos:
        # Averages of several kinds share a grid, so a mean over them is meaningless.
        figures = () if zoo["derived"] else _FIGURES
        name, zoo["figures"] = zoo["zoo"], []
        for title, draw in figures:
            with _as_zoo(name, title):
                if figure := draw(catalog, name):
                    zoo["figures"].append((title, _svg(figure)))
        with _as_zoo(name, "facts"):
            zoo["downstream"] = downstream_table(catalog, name)
            zoo["about"] = describe_zoo(catalog, name)
    page = template.render(catalog=catalog, zoos=zoos)
    with whole_file(path, instead="name another file with --to FILE") as file:
        file.write(page.encode())
    return [zoo["zoo"] for zoo in zoos]


def _check_replaceable(path: Path) -> None:
    """Refuse to replace a file that is not an HTML page."""
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if not file.read(64).lstrip().lower().startswith(b"<!doctype html"):
                raise CatalogError(
                    f"{path} exists and is not a report, so it is not replaced. Name "
                    "another file with --to FILE."
                )


def _as_zoo(zoo: str, what: str) -> AbstractContextManager[None]:
    """Name the zoo and the part of it that hold unexpected content; see `as_written`."""
    return as_written(
        f"The zoo {zoo!r}, {what!r}",
        "a zoo",
        "To leave the zoo out of the report, remove its runs: phasezoo rm.",
    )


def _svg(figure: Any) -> str:
    text = io.StringIO()
    save_figure(figure, text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _finalize(value: Any) -> Any:
    """Make text printable before Jinja escapes it; leave finished HTML unchanged."""
    return printable(value) if type(value) is str else value


def _shown(value: Any) -> str:
    return ", ".join(map(cell, value)) if isinstance(value, list) else cell(value)
