"""Command line of text search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.compute as pc

from catalog.catalog import Catalog
from catalog.console.counting import counted
from catalog.console.options import options_of
from catalog.console.outlet import note
from catalog.console.program import (
    at_option,
    json_option,
    print_json,
    print_table,
    readable_option,
    verb,
)
from catalog.errors import CatalogError, NotFound
from catalog.remote.opening import open_catalog
from catalog.selection import Selection
from probes.search.request import SearchRequest

_SHOWN = ("similarity", "learnt", "zoo", "run_id", "step")


@verb("search 'ankle boot' --target class_name")
@click.argument("text")
@options_of(SearchRequest)
@readable_option
@at_option
@json_option
def search(
    text: str, catalog_path: str, at: int | None, as_json: bool, **options: Any
) -> None:
    """Rank networks by their similarity to a text.

    TEXT is for example the name of a class, which no network need have. With --target a
    probe is fitted to networks with class names. The networks of the layout of the probe
    are ranked. Networks of the training set are marked in the column learnt, and ranked by
    a fit without them.
    """
    try:
        request = SearchRequest(**options)
    except CatalogError as error:
        raise click.UsageError(str(error)) from error
    from probes.file import about, as_probe, load
    from probes.text.ranking import search as ranked

    store = open_catalog(catalog_path, at=at)
    if request.probe is not None:
        file, selection = _existing(request.probe), store.select(request.where)
    else:
        file, selection = _target_probe(store, request)
    facts = about(file)
    with as_probe(file):
        rows = [(run, step) for run, step in facts.get("rows", ())]
        runs = facts.get("train")
        training_runs = pa.array([] if runs is None else runs, pa.string())
        table = ranked(load(file), selection, text, rows=rows)
    if runs is not None:
        in_training = pc.is_in(table["run_id"], training_runs)
        table = table.append_column("learnt", in_training)
        table = table.filter(pc.invert(in_training)) if request.new else table
    elif request.new:
        raise CatalogError(
            f"{file} does not record its training set, so --new cannot leave it out. "
            "Narrow --where instead."
        )
    table = table.slice(0, request.top)
    if "learnt" in table.column_names:
        overfitted = pc.and_(table["learnt"], pc.invert(table["left_out"]))
        if count := pc.sum(overfitted).as_py():
            note(
                f"{count:,} of these {counted(len(table), 'network')} "
                f"{'is' if count == 1 else 'are'} in the training set, and similarity by "
                "the same fit is too high. --new leaves out the training set."
            )
    columns = (*_SHOWN, *([] if request.target is None else [request.target]))
    rows_shown = table.select([x for x in columns if x in table.column_names]).to_pylist()
    print_json(rows_shown) if as_json else print_table(rows_shown)


def _target_probe(store: Catalog, request: SearchRequest) -> tuple[Path, Selection]:
    """Return the probe of a target, and the last checkpoints of its layout."""
    from catalog.checkpoints import rows
    from probes.search.fit import text_probe

    probe, file = text_probe(store, request, note)
    table, _ = rows(store, "true" if request.where is None else request.where, "last")
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
