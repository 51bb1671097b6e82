"""Commands that read a catalogue: sql, ls, show, export, schema, verify, report."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from catalog.catalog import arrow_table
from catalog.console.counting import counted
from catalog.console.outlet import note, say
from catalog.console.program import (
    at_option,
    catalog_option,
    json_option,
    print_json,
    print_table,
    readable_option,
    verb,
)
from catalog.errors import CatalogError
from catalog.remote.address import is_url
from catalog.remote.opening import open_catalog


@verb("sql 'SELECT zoo, count(*) FROM models GROUP BY zoo'")
@click.argument("query")
@click.option(
    "--to",
    "path",
    metavar="FILE",
    help="Write the whole answer to FILE, a .csv, .parquet or .json file.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--allow",
    multiple=True,
    metavar="DIR",
    help="Folder whose files, also in subfolders, QUERY may read besides the catalogue; "
    "may be repeated.",
)
@click.option(
    "--rows",
    default=60,
    show_default=True,
    type=click.IntRange(1),
    help="Maximum number of rows to print; --json prints all rows.",
)
@readable_option
@at_option
@json_option
def sql(
    query: str,
    path: str | None,
    force: bool,
    allow: tuple[str, ...],
    rows: int,
    catalog_path: str,
    at: int | None,
    as_json: bool,
) -> None:
    """Answer an SQL query over the catalogue.

    Most queries need only the view models, which has a row per checkpoint; `phasezoo
    schema` lists all views and columns. The dialect is DuckDB's.

    QUERY is one statement that reads: SELECT, FROM, WITH, VALUES, TABLE, PIVOT, UNPIVOT,
    DESCRIBE, SUMMARIZE, SHOW, or EXPLAIN of one of these. It cannot change anything, and it
    can read only the catalogue and files below --allow DIR.
    """
    if path is not None:
        from catalog.query.result_file import result_path, write_result

        file = result_path(path, force=force)
        zoo = open_catalog(catalog_path, at=at, allow=allow)
        count = write_result(zoo.sql(query), file)
        if as_json:
            print_json({"file": path, "rows": count})
        else:
            say(f"{path}: {count:,} rows")
        return

    relation = open_catalog(catalog_path, at=at, allow=allow).sql(query)
    texts, parse = (relation if as_json else relation.limit(rows + 1)).as_text()
    answered = [parse(row) for row in arrow_table(texts).to_pylist()]
    if as_json:
        print_json(answered)
        return
    print_table(answered[:rows])
    if len(answered) > rows:
        note(f"Printed the first {rows} rows; --rows N prints more.")


@verb("ls --catalog hf://datasets/USER/NAME")
@readable_option
@at_option
@json_option
def ls(catalog_path: str, at: int | None, as_json: bool) -> None:
    """List the zoos of the catalogue.

    The best test accuracy is that of the checkpoint that is best on the validation split
    or, if no checkpoint has a validation accuracy, the greatest one. Bytes are those of the
    weights. The column partial counts checkpoints of which only some tensors were fetched;
    it is left out if there are none. 'phasezoo show ZOO' prints a page about one zoo.
    """
    from catalog.show.zoos import total, zoos

    catalog = open_catalog(catalog_path, at=at)
    rows = zoos(catalog)
    sums = total(rows)
    if as_json:
        print_json({"version": catalog.version, "zoos": rows, "total": sums})
        return
    if rows:
        hidden = () if sums["partial"] else ("partial",)
        print_table([_joined(row, hidden) for row in rows])
    say(
        f"{counted(sums['zoos'], 'zoo')}: {counted(sums['runs'], 'run')}, "
        f"{counted(sums['checkpoints'], 'checkpoint')}, {sums['bytes'] / 1e6:,.1f} MB of "
        f"weights; version {catalog.version} of {catalog_path}"
    )


def _joined(row: Mapping[str, Any], hidden: Collection[str]) -> dict[str, Any]:
    """Return the row of a table, with lists as text and None for empty ones."""
    return {
        name: (", ".join(value) or None) if isinstance(value, list) else value
        for name, value in row.items()
        if name not in hidden
    }


@verb("show digits_mlp_phases")
@click.argument("identifier", metavar="ID")
@readable_option
@at_option
@json_option
def show(identifier: str, catalog_path: str, at: int | None, as_json: bool) -> None:
    """Show a zoo, run, checkpoint, shard or architecture.

    ID is the name of a zoo or shard, a run_id, a checkpoint RUN@STEP (a run_id and a step),
    or an arch_id. `phasezoo sql "SELECT DISTINCT zoo FROM models"` lists the zoos, and the
    page of a zoo names its shards and some of its runs.

    Except for zoos, the first characters of ID, at least four, are enough if nothing else
    begins with them. If several objects have the same name, give KIND:NAME, where KIND is
    zoo, run, shard or architecture.
    """
    from catalog.show import describe, page
    from catalog.show.blocks import prints_blocks

    document = describe(open_catalog(catalog_path, at=at), identifier)
    if as_json:
        print_json(document)
    else:
        for line in page(document, blocks=prints_blocks(sys.stdout)).split("\n"):
            say(line)


@verb("export 3fa9@1500 --to network.safetensors")
@click.argument("identifier", metavar="[ID]", required=False)
@click.option(
    "--to",
    "path",
    required=True,
    metavar="FILE",
    help="File to write, or FOLDER/ for one file per checkpoint.",
)
@click.option(
    "--where",
    metavar="SQL",
    help='SQL condition on models, such as "width = 16 AND step = steps", that selects '
    "checkpoints; replaces ID.",
)
@click.option(
    "--kind",
    metavar="KIND",
    help="Format of the files: safetensors, npz, arrow or pt. Default: by the ending of "
    "FILE; safetensors for a folder.",
)
@click.option("--force", is_flag=True, help="Replace existing files.")
@readable_option
@at_option
@json_option
def export(
    identifier: str | None,
    path: str,
    where: str | None,
    kind: str | None,
    force: bool,
    catalog_path: str,
    at: int | None,
    as_json: bool,
) -> None:
    """Write one checkpoint, or all that match --where, to files.

    ID is a run_id or its first characters, optionally with @STEP; without @STEP the last
    checkpoint of the run is written. The files hold the weights of all tensors.
    """
    from catalog.formats.export import export as write
    from catalog.formats.export import find_checkpoint

    if (identifier is None) == (where is None):
        raise click.UsageError("Give either ID or --where SQL.")
    zoo = open_catalog(catalog_path, at=at)
    selection = (
        zoo.select(where) if identifier is None else find_checkpoint(zoo, identifier)
    )
    files = write(selection, path, kind, force=force)
    if as_json:
        print_json({"networks": len(selection), "files": [str(f) for f in files]})
    else:
        say(f"{path}: {len(selection)} networks, {len(files)} files")


@verb("schema")
@readable_option
@json_option
def schema(catalog_path: str, as_json: bool) -> None:
    """List the columns of all views with type, unit and meaning.

    Without a catalogue only the documented columns are listed; with one also those that
    recipes, measures and imports added.
    """
    from catalog.show.dictionary import all_columns

    has_catalogue = is_url(catalog_path) or (Path(catalog_path) / "manifests").is_dir()
    rows = all_columns(open_catalog(catalog_path) if has_catalogue else None)
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


@verb("verify --catalog phasezoo-data")
@click.option("--keep", is_flag=True, help="Report leftovers, but delete nothing.")
@click.option(
    "--repair",
    "mend",
    is_flag=True,
    help="First repair damaged bookkeeping (HEAD, commit records, packs) from other "
    "records of the catalogue; lost weights cannot be repaired.",
)
@catalog_option
@json_option
def verify(keep: bool, mend: bool, catalog_path: str, as_json: bool) -> None:
    """Check the catalogue for damage, and delete leftovers.

    Every byte of the stored networks and metadata is compared with its checksum, and so are
    the fitted probes and generators in probes/ and generators/. If something is damaged,
    the command names file, row and tensor, and the exit code is 1.

    Leftovers are files of writers that were killed. A file of which no writer is known may
    be a copy in progress, so it is deleted only when it is a day old.
    """
    from catalog.console.progress import Progress
    from catalog.upkeep.repair import RepairReport, repair_catalogue
    from catalog.upkeep.verify import verify as check

    root = Path(catalog_path)
    if not (root / "manifests").is_dir():
        raise CatalogError(
            f"There is no catalogue in {root}. Name its folder with --catalog DIR."
        )
    bar = Progress(1, "MB", "verify")

    def progress(done: int, total: int) -> None:
        bar.total = total / 1e6
        bar.update(done / 1e6)

    repaired = repair_catalogue(root) if mend else RepairReport()
    result = check(root, sweep=not keep, progress=progress)
    if as_json:
        print_json(asdict(result) | (asdict(repaired) if mend else {}))
    else:
        for sentence in repaired.mended:
            say(f"mended  {sentence}")
        for sentence in repaired.left:
            say(f"LEFT    {sentence}")
        for problem in result.problems:
            say(f"WRONG  {problem.path}  {problem.detail}")
        if result.unchecked:
            say(
                f"not checkable  {len(result.unchecked)} files of fitted probes and "
                "generators have no digest because earlier versions wrote them"
            )
        verb = "swept" if result.swept else "found"
        for path in result.leftovers:
            say(f"{verb}  {path}  (left by a killed writer)")
        say(
            f"{result.shards} shards, {result.files} files, {result.bytes / 1e6:,.1f} MB: "
            f"{len(result.problems)} problems, {len(result.leftovers)} leftovers {verb}"
        )
    sys.exit(1 if result.problems else 0)


@verb("report --to report.html")
@click.option(
    "--to",
    "path",
    default="report.html",
    show_default=True,
    metavar="FILE",
    help="HTML file to write.",
)
@readable_option
@at_option
@json_option
def report(path: str, catalog_path: str, at: int | None, as_json: bool) -> None:
    """Write a self-contained HTML page about every zoo.

    The page has facts, heat maps, other figures and tables of each zoo. An existing report
    is replaced. The command needs phasezoo[report].
    """
    from catalog.report.page import write_report

    zoos = write_report(open_catalog(catalog_path, at=at), Path(path))
    if as_json:
        print_json({"report": path, "zoos": zoos})
    else:
        say(f"{path}: {', '.join(zoos) or 'no zoo yet'}")
