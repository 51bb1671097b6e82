"""Commands that change a catalogue (annotate, rm, gc, compact) or list its versions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from catalog.catalog import open_catalog
from catalog.console.outlet import say
from catalog.console.program import (
    catalog_option,
    json_option,
    print_json,
    print_table,
    verb,
)
from catalog.upkeep.annotation import annotate as commit_annotation


@verb("rm \"zoo = 'digits_mlp_seeds'\" --yes")
@click.argument("where")
@click.option(
    "--yes",
    is_flag=True,
    help="Remove the checkpoints. Without --yes, only report what would be removed.",
)
@catalog_option
@json_option
def rm(where: str, yes: bool, catalog_path: str, as_json: bool) -> None:
    """Remove the checkpoints that match an SQL condition.

    WHERE is a condition on the view models, as after WHERE in a query. Without --yes the
    command only counts the checkpoints.

    Older versions of the catalogue still have the checkpoints: read them with --at VERSION
    until `phasezoo gc` frees the disk. The only way to undo a removal is to import or train
    the checkpoints again.
    """
    from catalog.upkeep.removal import find_removal, remove

    catalog = open_catalog(catalog_path)
    removal = remove(catalog, where) if yes else find_removal(catalog, where)
    if as_json:
        counts = {"runs": removal.runs, "checkpoints": removal.checkpoints}
        print_json(counts | {"removed": yes})
        return
    outcome = "removed" if yes else "would be removed; add --yes to remove them"
    say(f"{removal.checkpoints:,} checkpoints ({removal.runs:,} whole runs) {outcome}")


@verb("gc --keep 1 --grace 0")
@click.option(
    "--keep",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Number of newest versions to keep readable with --at.",
)
@click.option(
    "--grace",
    default=600.0,
    show_default=True,
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Also keep versions that were the newest less than SECONDS ago, as other "
    "processes may be reading them.",
)
@click.option(
    "--waste",
    default=0.25,
    show_default=True,
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Rewrite a shard if at least this SHARE of its checkpoints was removed; 0: if any "
    "was.",
)
@click.option(
    "--dry-run", is_flag=True, help="Report what could be deleted now, without deleting it."
)
@catalog_option
@json_option
def gc(
    keep: int,
    grace: float,
    waste: float,
    dry_run: bool,
    catalog_path: str,
    as_json: bool,
) -> None:
    """Delete files that no kept version of the catalogue needs.

    These are the weights of removed checkpoints and superseded metadata. A shard, a file
    with many checkpoints, is deleted if all of them were removed, and rewritten without the
    removed ones if many were (--waste).
    """
    from catalog.upkeep.garbage import collect

    root = open_catalog(catalog_path).root
    garbage = collect(root, keep=keep, grace=grace, waste=waste, rehearse=dry_run)
    if as_json:
        print_json(asdict(garbage) | {"dry_run": dry_run})
        return
    verb = "could be deleted" if dry_run else "deleted"
    say(
        f"{len(garbage.shards)} shards dropped, {len(garbage.rewritten)} "
        f"{'to rewrite' if dry_run else 'rewritten'}; {len(garbage.files)} files, "
        f"{garbage.bytes / 1e6:,.1f} MB {verb}; readable versions: "
        f"{', '.join(map(str, garbage.versions))}"
    )


@verb("compact --catalog phasezoo-data")
@catalog_option
@json_option
def compact(catalog_path: str, as_json: bool) -> None:
    """Join the small metadata files of many shards.

    Opening and copying a catalogue of many commits is then faster. Weights are not moved.
    """
    from catalog.upkeep.compaction import compact as join

    result = join(open_catalog(catalog_path).root)
    if as_json:
        print_json(asdict(result))
    elif result.shards:
        say(
            f"{result.shards:,} shards: {result.files_before:,} metadata files joined into "
            f"{result.files_after}; 'phasezoo gc' deletes the old files"
        )
    else:
        say("Nothing to join.")


@verb("versions")
@catalog_option
@json_option
def versions(catalog_path: str, as_json: bool) -> None:
    """List the versions that can be read with --at.

    Every change of the catalogue makes a version; `phasezoo gc` deletes old ones.
    """
    from catalog.upkeep.history import history

    rows = history(open_catalog(catalog_path).root)
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


@verb("annotate sharpness.csv --name sharpness")
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--name",
    required=True,
    help="Name of the method that computed the columns; it is stored with them.",
)
@catalog_option
@json_option
def annotate(table: Path, name: str, catalog_path: str, as_json: bool) -> None:
    """Add the columns of a table to checkpoints of the catalogue.

    TABLE is a CSV or Parquet file with a row per checkpoint or run. Its column run_id, or
    source_name and optionally zoo, names the run, and its column step the checkpoint;
    without step, the values are added to every checkpoint of the run. All other columns
    become columns of the view models.

    A later value replaces an earlier one, but an empty cell replaces nothing. A column of
    numbers accepts no text, and a column of text accepts no numbers.
    """
    result = commit_annotation(open_catalog(catalog_path), table, name)
    if as_json:
        print_json(asdict(result))
    else:
        columns = ", ".join(result.columns)
        say(f"{result.checkpoints:,} checkpoints have {columns}")
