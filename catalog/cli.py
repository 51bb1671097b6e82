"""Verbs that read: sql, show, export, schema, verify, report."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from catalog.catalog import arrow_table, open_catalog
from catalog.console.outlet import note, say
from catalog.console.program import (
    at_option,
    catalog_option,
    json_option,
    print_json,
    print_table,
)
from catalog.errors import CatalogError


@click.command(
    epilog="Example: phasezoo sql 'SELECT zoo, count(*) FROM models GROUP BY zoo'"
)
@click.argument("query")
@click.option(
    "--to", "path", metavar="FILE", help="Write the answer: .csv, .parquet or .json."
)
@click.option("--force", is_flag=True, help="Replace that file, if it is there.")
@click.option(
    "--allow",
    multiple=True,
    metavar="DIR",
    help="A folder whose files QUERY may read; may be repeated.",
)
@click.option(
    "--rows",
    default=60,
    show_default=True,
    type=click.IntRange(1),
    help="Rows to print; --json prints all.",
)
@catalog_option
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
    """Answer QUERY over the views that `phasezoo schema` lists.

    QUERY is one statement that reads: SELECT, FROM, WITH, VALUES, PIVOT, UNPIVOT, DESCRIBE,
    SUMMARIZE, SHOW, or EXPLAIN of one. It can change nothing, and reads the catalogue and
    files below --allow DIR.
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
    answer, read = (relation if as_json else relation.limit(rows + 1)).as_text()
    found = [read(row) for row in arrow_table(answer).to_pylist()]
    if as_json:
        print_json(found)
        return
    print_table(found[:rows])
    if len(found) > rows:
        note(f"First {rows} rows; --rows N prints more.")


@click.command(epilog="Example: phasezoo show digits_mlp_phases")
@click.argument("identifier", metavar="ID")
@catalog_option
@at_option
@json_option
def show(identifier: str, catalog_path: str, at: int | None, as_json: bool) -> None:
    """Show what ID names: a zoo, a run, a checkpoint (RUN@STEP), a shard, an arch_id.

    The first characters of an ID are enough if nothing else begins with them. KIND:NAME
    (zoo:, run:, shard: or architecture:) tells apart what has one name.
    """
    from catalog.show import describe, page
    from catalog.show.blocks import prints_blocks

    found = describe(open_catalog(catalog_path, at=at), identifier)
    if as_json:
        print_json(found)
    else:
        for line in page(found, blocks=prints_blocks(sys.stdout)).split("\n"):
            say(line)


@click.command(epilog="Example: phasezoo export 3fa9@1500 --to network.safetensors")
@click.argument("identifier", metavar="[ID]", required=False)
@click.option("--to", "path", required=True, metavar="FILE", help="File, or FOLDER/.")
@click.option("--where", metavar="SQL", help="A condition on models, instead of ID.")
@click.option("--kind", metavar="KIND", help="safetensors, npz, arrow, pt; by the ending.")
@click.option("--force", is_flag=True, help="Replace what is there.")
@catalog_option
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
    """Write checkpoint ID (start of a run_id, or RUN@STEP), or many, to files."""
    from catalog.formats.export import export as write
    from catalog.formats.export import find_checkpoint

    if (identifier is None) == (where is None):
        raise click.UsageError("Give ID or --where SQL, one of them.")
    zoo = open_catalog(catalog_path, at=at)
    selection = find_checkpoint(zoo, identifier) if identifier else zoo.select(where)
    files = write(selection, path, kind, force=force)
    if as_json:
        print_json({"networks": len(selection), "files": [str(f) for f in files]})
    else:
        say(f"{path}: {len(selection)} networks, {len(files)} files")


@click.command(epilog="Example: phasezoo schema")
@catalog_option
@json_option
def schema(catalog_path: str, as_json: bool) -> None:
    """List every column of every view, with type, unit and meaning."""
    from catalog.show.dictionary import all_columns

    has_catalogue = (Path(catalog_path) / "manifests").is_dir()
    rows = all_columns(open_catalog(catalog_path) if has_catalogue else None)
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


@click.command(epilog="Example: phasezoo verify --catalog phasezoo-data")
@click.option(
    "--keep", is_flag=True, help="Report what killed writers left, delete nothing."
)
@click.option(
    "--repair",
    "mend",
    is_flag=True,
    help="First mend what other records prove: HEAD, commit records, doubled packs.",
)
@catalog_option
@json_option
def verify(keep: bool, mend: bool, catalog_path: str, as_json: bool) -> None:
    """Check every committed byte, and delete what killed writers left.

    Fitted things in probes/ and generators/ are compared with their own digests.

    A file that neither a commit record nor the mark of a writer claims may be on its way
    in: it stays for a day. --keep deletes nothing.
    """
    from catalog.console.progress import Progress
    from catalog.upkeep.repair import RepairReport, repair
    from catalog.upkeep.verify import verify as check

    root = Path(catalog_path)
    if not (root / "manifests").is_dir():
        raise CatalogError(f"There is no catalogue in {root}; name one: --catalog DIR")
    bar = Progress(1, "MB", "verify")

    def progress(done: int, total: int) -> None:
        bar.total = total / 1e6
        bar.update(done / 1e6)

    done = repair(root) if mend else RepairReport()
    result = check(root, sweep=not keep, progress=progress)
    if as_json:
        print_json(asdict(result) | (asdict(done) if mend else {}))
    else:
        for sentence in done.mended:
            say(f"mended  {sentence}")
        for sentence in done.left:
            say(f"LEFT    {sentence}")
        for problem in result.problems:
            say(f"WRONG  {problem.path}  {problem.detail}")
        if result.unchecked:
            say(
                f"not checkable  {len(result.unchecked)} files of fitted probes and "
                "generators have no digest: earlier versions wrote them"
            )
        word = "swept" if result.swept else "found"
        for path in result.leftovers:
            say(f"{word}  {path}  (left by a writer that was killed)")
        say(
            f"{result.shards} shards, {result.files} files, {result.bytes / 1e6:,.1f} MB: "
            f"{len(result.problems)} problems, {len(result.leftovers)} leftovers {word}"
        )
    sys.exit(1 if result.problems else 0)


@click.command(epilog="Example: phasezoo report --to report.html")
@click.option("--to", "path", default="report.html", show_default=True, metavar="FILE")
@catalog_option
@at_option
@json_option
def report(path: str, catalog_path: str, at: int | None, as_json: bool) -> None:
    """Write one self-contained HTML page with the heat maps of every zoo."""
    from catalog.report.page import write_report

    zoos = write_report(open_catalog(catalog_path, at=at), Path(path))
    if as_json:
        print_json({"report": path, "zoos": zoos})
    else:
        say(f"{path}: {', '.join(zoos) or 'no zoo yet'}")
