"""Command line of lineage recovery."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from catalog.console.counting import counted
from catalog.console.outlet import say
from catalog.console.program import (
    json_option,
    print_json,
    print_table,
    readable_option,
    verb,
)
from catalog.errors import NotFound
from catalog.remote.opening import open_catalog

if TYPE_CHECKING:
    from probes.lineage.survey import Found


@verb("lineage --where \"zoo LIKE 'tree_mini%'\"")
@click.option(
    "--where",
    default="true",
    metavar="SQL",
    help="SQL condition on models that selects checkpoints; default: all.",
)
@click.option(
    "--direction",
    default="particular",
    show_default=True,
    type=click.Choice(["particular", "centre", "kurtosis", "rising kurtosis"]),
    help="Choice of the root of a tree of fine-tuned networks. particular: the network "
    "with the smallest part that no other network shares; centre: the one with the "
    "smallest sum of distances; kurtosis: weights lose outliers from parent to child; "
    "rising kurtosis: they gain outliers.",
)
@click.option(
    "--apart",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Relative squared distance between weights from which networks are in different "
    "trees; unrelated networks are at 1, copies at 0.",
)
@click.option(
    "--permuted",
    is_flag=True,
    help="Also find networks that others contain with their hidden units reordered; only "
    "for layouts with axis symbols.",
)
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(0),
    help="Maximum number of rows to print; --json prints all.",
)
@readable_option
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
    """Recover the parents of networks from their weights alone.

    A parent is a network from which another was fine-tuned, or that another contains. The
    last selected checkpoint of every run is used. Recorded parents are not used, only
    compared with the result.
    """
    from probes.lineage.survey import (
        lineage_of,
        parent_agreement,
        populations_of,
        recorded_parents,
    )

    populations = list(populations_of(open_catalog(catalog_path), where))
    if not populations:
        raise NotFound(f"No network with weights matches the condition {where!r}.")
    networks = lineage_of(populations, direction=direction, apart=apart, permuted=permuted)
    recorded = recorded_parents(populations)
    counts = asdict(parent_agreement(networks, recorded))
    if as_json:
        rows = [
            {**asdict(network), "recorded": recorded[network.run_id]}
            for network in networks
        ]
        print_json({"networks": rows, "recorded_parents": counts})
        return
    children = [network for network in networks if network.parent is not None]
    if shown := children[:limit]:
        print_table([_row(network, recorded) for network in shown])
    if len(children) > limit:
        say(f"... {len(children) - limit} more; --limit {len(children)} or --json")
    roots = counted(len(networks) - len(children), "root")
    say(f"{counted(len(networks), 'network')}, {roots}")
    say("Recorded parents: " + ", ".join(f"{v} {k}" for k, v in counts.items()))


def _row(network: Found, recorded: dict[str, list[str]]) -> dict[str, Any]:
    row = asdict(network)
    parents = recorded[network.run_id]
    row["recorded"] = None if not parents else network.parent in parents
    return {"child": row.pop("run_id"), **row}
