"""Lineage of all networks of a selection, of any shapes.

Networks that embed a smaller network are found first. The others are compared with the
networks of their own layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from catalog import LayoutMismatch, Population
from catalog.catalog import Catalog, arrow_table
from catalog.quoting import literal
from probes.lineage.reuse import find_reuse
from probes.lineage.tree import recover_parents


@dataclass(frozen=True)
class Found:
    """Recovered lineage of one network.

    Attributes
    ----------
    run_id : str
        Run of the network.
    parent : str or None
        run_id of the parent; None for a root.
    relation : str
        ``"embedded"`` if the network embeds its parent, ``"tuned"`` if it was fine-tuned
        from its parent, or ``"root"``.
    distance : float or None
        Distance from the parent: relative to the norm of the network if it was tuned, and
        1 - score if it embeds the parent.
    confidence : float or None
        Confidence as in `Links` and `Reuse`.
    """

    run_id: str
    parent: str | None = None
    relation: str = "root"
    distance: float | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Agreement:
    """Agreement of recovered parents with recorded parents.

    Attributes
    ----------
    right, wrong, missed : int
        Number of networks with a recorded parent for which this parent, another parent or
        no parent was found.
    false : int
        Number of networks without a recorded parent for which a parent was found.
    roots : int
        Number of networks without a recorded parent for which no parent was found.
    """

    right: int = 0
    wrong: int = 0
    missed: int = 0
    false: int = 0
    roots: int = 0


def populations_of(catalog: Catalog, where: str = "true") -> Iterator[Population]:
    """Load the last checkpoints that match a condition on `models`, by layout.

    Each layout is one population. Networks with weights that are not finite are left out.
    """
    last = (
        f"FROM ({catalog.matching(where)}) WHERE row IS NOT NULL "
        "AND coalesce(finite, true) "
        "QUALIFY step = max(step) OVER (PARTITION BY run_id)"
    )
    kinds = catalog.sql(f"SELECT DISTINCT arch_id FROM (SELECT arch_id {last}) ORDER BY 1")
    for arch in arrow_table(kinds)["arch_id"].to_pylist():
        rows = catalog.sql(
            f"SELECT run_id, step FROM (SELECT run_id, step, arch_id {last}) "
            f"WHERE arch_id = {literal(arch)} ORDER BY run_id"
        )
        yield catalog.load(rows)


def lineage_of(
    populations: Sequence[Population],
    *,
    direction: str = "particular",
    apart: float = 0.5,
    permuted: bool = False,
) -> list[Found]:
    """Find the parent of every network.

    Parameters
    ----------
    populations : sequence of Population
        Populations of one layout each, with one checkpoint per run.
    direction, apart
        See `recover_parents`.
    permuted : bool, default=False
        True if units of embedded networks may be permuted, see `find_reuse`; only for
        networks whose layout has symbols.

    Returns
    -------
    list of Found
        One entry per network, in the order of the populations.
    """
    found_by_run: dict[str, Found] = {}
    for hosts in populations:
        for host_id, best in _embedded(hosts, populations, permuted).items():
            found_by_run[host_id] = best
    for population in populations:
        ids = _ids(population)
        remaining = np.array(
            [i for i, run in enumerate(ids) if run not in found_by_run], np.int64
        )
        if not len(remaining):
            continue
        links = recover_parents(
            population.weights[remaining], layout=population.layout, direction=direction,
            apart=apart,
        )  # fmt: skip
        for k, i in enumerate(remaining):
            parent = int(links.parent[k])
            if parent < 0:
                found_by_run[ids[i]] = Found(ids[i])
                continue
            found_by_run[ids[i]] = Found(
                ids[i], ids[remaining[parent]], "tuned", float(links.distance[k]),
                float(links.confidence[k]),
            )  # fmt: skip
    return [found_by_run[run] for population in populations for run in _ids(population)]


def parent_agreement(
    found: Sequence[Found], recorded: Mapping[str, Sequence[str]]
) -> Agreement:
    """Compare recovered with recorded parents, by run_id.

    Recorded parents that are not among the networks are ignored.
    """
    present = {network.run_id for network in found}
    counts = dict.fromkeys(("right", "wrong", "missed", "false", "roots"), 0)
    for network in found:
        recorded_here = present.intersection(recorded.get(network.run_id, ()))
        if recorded_here:
            kind = "missed" if network.parent is None else "wrong"
            kind = "right" if network.parent in recorded_here else kind
        else:
            kind = "roots" if network.parent is None else "false"
        counts[kind] += 1
    return Agreement(**counts)


def recorded_parents(populations: Sequence[Population]) -> dict[str, list[str]]:
    """Return the run_ids of recorded parents, by run_id."""
    parents_of = {}
    for population in populations:
        listed = population.table["parents"].to_pylist()
        for run, parents in zip(_ids(population), listed, strict=True):
            parents_of[run] = [parent["run_id"] for parent in parents or ()]
    return parents_of


def _embedded(
    hosts: Population, populations: Sequence[Population], permuted: bool
) -> dict[str, Found]:
    """Find the smaller network that each host embeds, by the run_id of the host."""
    best: dict[str, tuple[float, Found]] = {}
    ids = _ids(hosts)
    for parts in populations:
        if parts.layout.d >= hosts.layout.d or not len(parts):
            continue
        matched = permuted and bool(parts.layout.symbols)
        reuse = find_reuse(
            hosts.weights, hosts.layout, parts.weights, parts.layout, permuted=matched
        )
        names = _ids(parts)
        for i in np.flatnonzero(reuse.part >= 0):
            part = int(reuse.part[i])
            score = float(reuse.scores[i, part])
            new = Found(
                ids[i], names[part], "embedded", 1 - score, float(reuse.confidence[i])
            )
            if ids[i] not in best or score > best[ids[i]][0]:
                best[ids[i]] = score, new
    return {run: found for run, (_, found) in best.items()}


def _ids(population: Population) -> list[str]:
    ids: list[str] = population.table["run_id"].to_pylist()
    if len(set(ids)) < len(ids):
        raise LayoutMismatch(
            "A run has several checkpoints; lineage needs one checkpoint per run."
        )
    return ids
