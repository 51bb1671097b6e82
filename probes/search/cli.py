"""Command line of text search."""

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
    help="Column of class names to fit a probe to; the probe is saved and reused.",
)
@click.option(
    "--probe", "path", metavar="FILE", help="Saved text probe to use instead of --target."
)
@click.option(
    "--encoder",
    default="minilm",
    show_default=True,
    help="Text encoder of the probe for --target.",
)
@click.option("--again", is_flag=True, help="Fit again even if the probe is saved.")
@click.option(
    "--where",
    metavar="SQL",
    help="SQL condition that selects models to rank, and with --target to train on.",
)
@click.option(
    "--new", is_flag=True, help="Rank only networks outside the training set of the probe."
)
@click.option(
    "--top",
    default=10,
    show_default=True,
    type=click.IntRange(1),
    help="Number of rows to print.",
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
    """Rank networks by similarity to TEXT, such as the name of a class.

    With --target a probe is fitted to networks with class names; TEXT may be a class that
    no network has. The networks of the layout of the probe are ranked. Networks of the
    training set are marked in the column learnt, and ranked by a fit without them.
    """
    if (target is None) == (path is None):
        raise click.UsageError(
            "Pass either --target COLUMN, such as class_name, or --probe FILE."
        )
    from probes.file import about, as_probe, load
    from probes.text.ranking import search as ranked

    store = open_catalog(catalog_path, at=at)
    if target is not None:
        file, selection = _target_probe(store, target, encoder, where or "true", again)
    else:
        file, selection = _existing(str(path)), store.select(where)
    facts = about(file)
    with as_probe(file):
        rows = [(run, step) for run, step in facts.get("rows", ())]
        runs = facts.get("train")
        training_runs = pa.array([] if runs is None else runs, pa.string())
        table = ranked(load(file), selection, text, rows=rows)
    if runs is not None:
        in_training = pc.is_in(table["run_id"], training_runs)
        table = table.append_column("learnt", in_training)
        table = table.filter(pc.invert(in_training)) if new else table
    elif new:
        raise CatalogError(
            f"{file} does not record its training set, so --new cannot leave it out. "
            "Narrow --where instead."
        )
    table = table.slice(0, top)
    if "learnt" in table.column_names:
        overfitted = pc.and_(table["learnt"], pc.invert(table["left_out"]))
        if count := pc.sum(overfitted).as_py():
            note(
                f"{count} of these {len(table)} networks are in the training set, and "
                "their similarity by the same fit is too high. --new leaves them out."
            )
    columns = (*_SHOWN, *([target] if target is not None else []))
    rows_shown = table.select([x for x in columns if x in table.column_names]).to_pylist()
    print_json(rows_shown) if as_json else print_table(rows_shown)


def _target_probe(
    store: Catalog, target: str, encoder: str, where: str, again: bool
) -> tuple[Path, Selection]:
    """Return the probe of a target, and the last checkpoints of its layout."""
    from catalog.checkpoints import rows
    from probes.search.fit import text_probe

    probe, file = text_probe(
        store, target, where=where, encoder=encoder, again=again, announce=note
    )
    table, _ = rows(store, where, "last")
    assert probe.layout is not None
    archs = table["arch_id"].to_pylist()
    matching = {arch for arch in set(archs) if store.layout(arch).id == probe.layout.id}
    return file, store.select(table.filter(pa.array([arch in matching for arch in archs])))


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise NotFound(
            f"There is no file {path}. Fit a probe with --target COLUMN, or write one with "
            "probes.save(probe, path)."
        )
    return Path(path)
