"""One self-contained HTML page: phase diagrams, accuracy distributions, all zoos."""

from __future__ import annotations

import io
from importlib.resources import files
from pathlib import Path
from typing import Any

from catalog.catalog import Catalog
from catalog.folder import write_outside
from catalog.pictures import accuracies, moving_maps, phase_maps, rows_of

_ZOOS = """
SELECT zoo, count(DISTINCT run_id) AS runs, count(*) AS checkpoints,
    min(parameters) AS smallest, max(parameters) AS largest,
    any_value(task_name) AS task, any_value(architecture_name) AS architecture,
    count(DISTINCT run_id) FILTER (status = 'diverged') AS diverged
FROM models GROUP BY zoo ORDER BY zoo"""

_FIGURES = (
    ("At the last checkpoint", phase_maps),
    ("Test accuracy as training goes on", moving_maps),
    ("How accuracies are distributed", accuracies),
)


def write_report(catalog: Catalog, path: Path) -> list[str]:
    """Write the page.

    Returns
    -------
    list of str
        Names of the zoos on it.

    Raises
    ------
    CatalogError
        If the file cannot be written.
    """
    import jinja2

    text = files("catalog").joinpath("report.html.jinja").read_text()
    template = jinja2.Template(text, autoescape=True)
    zoos = rows_of(catalog, _ZOOS)
    for zoo in zoos:
        drawn = [(title, draw(catalog, zoo["zoo"])) for title, draw in _FIGURES]
        zoo["figures"] = [(title, _svg(figure)) for title, figure in drawn if figure]
    write_outside(path, template.render(catalog=catalog, zoos=zoos))
    return [zoo["zoo"] for zoo in zoos]


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
