"""The verb search."""

from __future__ import annotations

from pathlib import Path

import click
import pyarrow as pa
import pyarrow.compute as pc

from catalog.catalog import Catalog, open_catalog
from catalog.console.outlet import note
from catalog.console.program import (
    at_option,
    catalog_option,
    json_option,
    print_json,
    print_table,
)
from catalog.errors import CatalogError, NotFound
from catalog.selection import Selection

_SHOWN = ("similarity", "learnt", "zoo", "run_id", "step")


@click.command(epilog="Example: phasezoo search 'ankle boot' --target class_name")
@click.argument("text")
@click.option(
    "--target",
    metavar="COLUMN",
    help="Names of classes to learn from; the probe is kept and found again.",
)
@click.option(
    "--probe", "path", metavar="FILE", help="Instead of --target: a saved text probe."
)
@click.option("--encoder", default="minilm", show_default=True, help="With --target.")
@click.option("--again", is_flag=True, help="Learn also what was learnt before.")
@click.option(
    "--where",
    metavar="SQL",
    help="A condition on models; with --target also on those to learn from.",
)
@click.option("--new", is_flag=True, help="Only networks that were not learnt from.")
@click.option(
    "--top", default=10, show_default=True, type=click.IntRange(1), help="Rows to print."
)
@catalog_option
@at_option
@json_option
def search(
    text: str,
    target: str | None,
    path: str | None,
    encoder: str,
    again: bool,
    where: str | None,
    new: bool,
    top: int,
    catalog_path: str,
    at: int | None,
    as_json: bool,
) -> None:
    """Rank networks by how near they are to TEXT, such as the name of a class.

    With --target a probe learns from networks whose class has a name; TEXT may be a class
    that none of them has. The networks ranked are those of its layout; one that was learnt
    from says so, and is ranked as if it were new: by the fit without it.
    """
    if (target is None) == (path is None):
        raise click.UsageError("Give --target COLUMN, such as class_name, or --probe FILE.")
    from probes.file import about, as_probe, load
    from probes.text.ranking import search as ranked

    store = open_catalog(catalog_path, at=at)
    if target is not None:
        file, selection = _learnt(store, target, encoder, where or "true", again)
    else:
        file, selection = _there(str(path)), store.select(where)
    said = about(file)
    with as_probe(file):
        rows = [(run, step) for run, step in said.get("rows", ())]
        runs = said.get("train")
        learnt = pa.array([] if runs is None else runs, pa.string())
        table = ranked(load(file), selection, text, rows=rows)
    if runs is not None:
        known = pc.is_in(table["run_id"], learnt)
        table = table.append_column("learnt", known)
        table = table.filter(pc.invert(known)) if new else table
    elif new:
        raise CatalogError(
            f"{file} does not say which networks it learnt from, so --new cannot leave "
            "them out. Narrow --where instead."
        )
    table = table.slice(0, top)
    if "learnt" in table.column_names:
        flattered = pc.and_(table["learnt"], pc.invert(table["left_out"]))
        if count := pc.sum(flattered).as_py():
            note(
                f"{count} of these {len(table)} were learnt from, and their similarity is "
                "of that very fit: too high. --new leaves them out."
            )
    shown = (*_SHOWN, *([target] if target is not None else []))
    found = table.select([x for x in shown if x in table.column_names]).to_pylist()
    print_json(found) if as_json else print_table(found)


def _learnt(
    store: Catalog, target: str, encoder: str, where: str, again: bool
) -> tuple[Path, Selection]:
    """The probe of a target, and the last checkpoints of its layout."""
    from probes.fitting.selection import rows
    from probes.search.fit import text_probe

    probe, file = text_probe(
        store, target, where=where, encoder=encoder, again=again, announce=note
    )
    table, _ = rows(store, where, "last")
    assert probe.layout is not None
    archs = table["arch_id"].to_pylist()
    own = {arch for arch in set(archs) if store.layout(arch).id == probe.layout.id}
    return file, store.select(table.filter(pa.array([arch in own for arch in archs])))


def _there(path: str) -> Path:
    if not Path(path).is_file():
        raise NotFound(
            f"There is no file {path}. Learn one with --target COLUMN, or write one with "
            "probes.save(probe, path)."
        )
    return Path(path)
