"""The verb search."""

from __future__ import annotations

import click

from catalog.catalog import open_catalog
from catalog.console import at_option, catalog_option, json_option, print_json, print_table

_SHOWN = ("similarity", "zoo", "run_id", "step")


@click.command(epilog="Example: phasezoo search 'ankle boot' --probe text.safetensors")
@click.argument("text")
@click.option(
    "--probe", "path", required=True, metavar="FILE", help="A saved TextRidge or TextProbe."
)
@click.option("--where", metavar="SQL", help="A condition on models; default: all.")
@click.option(
    "--top", default=10, show_default=True, type=click.IntRange(1), help="Rows to print."
)
@catalog_option
@at_option
@json_option
def search(
    text: str,
    path: str,
    where: str | None,
    top: int,
    catalog_path: str,
    at: int | None,
    as_json: bool,
) -> None:
    """Rank networks by how near they are to TEXT, such as the name of a class."""
    from pathlib import Path

    from catalog.errors import NotFound
    from probes.saving import load
    from probes.text.ranking import search as ranked

    if not Path(path).is_file():
        raise NotFound(f"There is no file {path}; probes.save(probe, path) writes one.")
    probe = load(path)
    selection = open_catalog(catalog_path, at=at).select(where)
    table = ranked(probe, selection, text).slice(0, top)
    columns = [name for name in _SHOWN if name in table.column_names]
    rows = table.select(columns).to_pylist()
    print_json(rows) if as_json else print_table(rows)
