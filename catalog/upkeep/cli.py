"""Verbs that change a catalogue: annotate, rm, gc, compact; and versions, its history."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from catalog.catalog import open_catalog
from catalog.console.outlet import say
from catalog.console.program import catalog_option, json_option, print_json, print_table
from catalog.upkeep.annotation import annotate as commit_annotation


@click.command(epilog="Example: phasezoo rm \"zoo = 'digits_mlp_seeds'\" --yes")
@click.argument("where")
@click.option("--yes", is_flag=True, help="Remove; without, only say what would go.")
@catalog_option
@json_option
def rm(where: str, yes: bool, catalog_path: str, as_json: bool) -> None:
    """Remove the checkpoints that the SQL condition WHERE on `models` picks.

    Older versions still have them: read them with --at VERSION until `phasezoo gc` frees
    the disk. Nothing undoes it but to import or train them again.
    """
    from catalog.upkeep.removal import find_removal, remove

    catalog = open_catalog(catalog_path)
    removal = remove(catalog, where) if yes else find_removal(catalog, where)
    if as_json:
        counts = {"runs": removal.runs, "checkpoints": removal.checkpoints}
        print_json(counts | {"removed": yes})
        return
    word = "removed" if yes else "would go; add --yes to remove them"
    say(f"{removal.checkpoints:,} checkpoints ({removal.runs:,} whole runs) {word}")


@click.command(epilog="Example: phasezoo gc --keep 1 --grace 0")
@click.option(
    "--keep",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Newest versions that stay readable with --at.",
)
@click.option(
    "--grace",
    default=600.0,
    show_default=True,
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="What was superseded later than that stays: somebody may be reading it.",
)
@click.option(
    "--waste",
    default=0.25,
    show_default=True,
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="A shard that lost this share of its checkpoints is written again; 0: any.",
)
@click.option("--dry-run", is_flag=True, help="Only say what could go now.")
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
    """Delete what no kept version needs: removed shards, superseded metadata."""
    from catalog.upkeep.garbage import collect

    root = open_catalog(catalog_path).root
    garbage = collect(root, keep=keep, grace=grace, waste=waste, rehearse=dry_run)
    if as_json:
        print_json(asdict(garbage) | {"dry_run": dry_run})
        return
    verb = "could be deleted" if dry_run else "deleted"
    say(
        f"{len(garbage.shards)} shards given up, {len(garbage.rewritten)} "
        f"{'to write' if dry_run else 'written'} again; {len(garbage.files)} files, "
        f"{garbage.bytes / 1e6:,.1f} MB {verb}; readable versions: "
        f"{', '.join(map(str, garbage.versions))}"
    )


@click.command(epilog="Example: phasezoo compact --catalog phasezoo-data")
@catalog_option
@json_option
def compact(catalog_path: str, as_json: bool) -> None:
    """Join the small metadata files of many shards; weights stay where they are."""
    from catalog.upkeep.compaction import compact as join

    done = join(open_catalog(catalog_path).root)
    if as_json:
        print_json(asdict(done))
    elif done.shards:
        say(
            f"{done.shards:,} shards: {done.files_before:,} metadata files joined into "
            f"{done.files_after}; 'phasezoo gc' deletes the old ones"
        )
    else:
        say("Nothing to join.")


@click.command(epilog="Example: phasezoo versions")
@catalog_option
@json_option
def versions(catalog_path: str, as_json: bool) -> None:
    """List the versions that can be read with --at."""
    from catalog.upkeep.history import history

    rows = history(open_catalog(catalog_path).root)
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


@click.command(epilog="Example: phasezoo annotate sharpness.csv --name sharpness")
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="What computed the columns.")
@catalog_option
@json_option
def annotate(table: Path, name: str, catalog_path: str, as_json: bool) -> None:
    """Add the columns of TABLE (csv or Parquet) to checkpoints that are there.

    TABLE has run_id, or source_name and maybe zoo, and step; without step, its values go
    to every checkpoint of the run. The newest value of a column wins; an empty cell never
    overwrites. A column of numbers takes no text, nor a column of text numbers.
    """
    done = commit_annotation(open_catalog(catalog_path), table, name)
    if as_json:
        print_json(asdict(done))
    else:
        columns = ", ".join(done.columns)
        say(f"{done.checkpoints:,} checkpoints have {columns}")
