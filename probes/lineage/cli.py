"""The verb lineage."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from catalog.catalog import open_catalog
from catalog.console.outlet import say
from catalog.console.program import catalog_option, json_option, print_json, print_table
from catalog.errors import NotFound

if TYPE_CHECKING:
    from probes.lineage.survey import Found


@click.command(epilog="Example: phasezoo lineage --where \"zoo LIKE 'tree_mini%'\"")
@click.option("--where", default="true", metavar="SQL", help="A condition on models.")
@click.option(
    "--direction",
    default="particular",
    show_default=True,
    type=click.Choice(["particular", "centre", "kurtosis", "rising kurtosis"]),
    help="What tells a root.",
)
@click.option(
    "--apart",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Squared distance that parts trees; strangers have 1.",
)
@click.option("--permuted", is_flag=True, help="Units may have been reordered.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(0), help="Rows to print."
)
@catalog_option
@json_option
def lineage(
    where: str,
    direction: str,
    apart: float,
    permuted: bool,
    limit: int,
    catalog_path: str,
    as_json: bool,
) -> None:
    """Recover from weights alone which network was made from which.

    Of every run the last checkpoint counts. Recorded parents are only compared with.
    """
    from probes.lineage.survey import (
        lineage_of,
        parent_agreement,
        populations_of,
        recorded_parents,
    )

    populations = list(populations_of(open_catalog(catalog_path), where))
    if not populations:
        raise NotFound(f"No network with weights fits the condition {where!r}.")
    found = lineage_of(populations, direction=direction, apart=apart, permuted=permuted)
    recorded = recorded_parents(populations)
    counts = asdict(parent_agreement(found, recorded))
    if as_json:
        rows = [{**asdict(one), "recorded": recorded[one.run_id]} for one in found]
        print_json({"networks": rows, "recorded_parents": counts})
        return
    children = [one for one in found if one.parent is not None]
    if shown := children[:limit]:
        print_table([_row(one, recorded) for one in shown])
    if len(children) > limit:
        say(f"... {len(children) - limit} more; --limit {len(children)} or --json")
    say(f"{len(found)} networks, {len(found) - len(children)} roots")
    say("Recorded parents: " + ", ".join(f"{v} {k}" for k, v in counts.items()))


def _row(one: Found, recorded: dict[str, list[str]]) -> dict[str, Any]:
    row = asdict(one)
    known = recorded[one.run_id]
    row["recorded"] = None if not known else one.parent in known
    return {"child": row.pop("run_id"), **row}
