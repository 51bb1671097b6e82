"""The lineage of all networks of a selection, whatever their shapes.

Networks that embed a smaller one come first: its tensors are theirs. The rest are compared
with those of their own layout.
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
    """What was found about one network.

    Attributes
    ----------
    run_id : str
    parent : str or None
        run_id of its parent; None of a root.
    relation : str
        ``"embedded"`` in it, ``"tuned"`` from it, or ``"root"``.
    distance : float or None
        From its parent: of a tuned network in its own norm, of an embedded one 1 - score.
    confidence : float or None
        See `Links` and `Reuse`.
    """

    run_id: str
    parent: str | None = None
    relation: str = "root"
    distance: float | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Agreement:
    """Parents found, against those that were recorded.

    Attributes
    ----------
    right, wrong, missed : int
        Networks with a recorded parent: it was found, another was, none was.
    false : int
        Networks without, for which one was found.
    roots : int
        Networks without, for which none was.
    """

    right: int = 0
    wrong: int = 0
    missed: int = 0
    false: int = 0
    roots: int = 0


def populations_of(catalog: Catalog, where: str = "true") -> Iterator[Population]:
    """Last checkpoints that fit a condition on `models`, one population for each layout.

    Networks with weights that are not finite are left out.
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
        One layout each, one checkpoint of a run.
    direction, apart
        See `recover_parents`.
    permuted : bool, default=False
        Whether units of embedded networks may be in another order, see `find_reuse`; only
        for networks whose layout has symbols.

    Returns
    -------
    list of Found
        In the order of the populations.
    """
    found: dict[str, Found] = {}
    for hosts in populations:
        for host_id, best in _embedded(hosts, populations, permuted).items():
            found[host_id] = best
    for population in populations:
        ids = _ids(population)
        left = np.array([i for i, run in enumerate(ids) if run not in found], np.int64)
        if not len(left):
            continue
        links = recover_parents(
            population.weights[left], layout=population.layout, direction=direction,
            apart=apart,
        )  # fmt: skip
        for k, i in enumerate(left):
            up = int(links.parent[k])
            if up < 0:
                found[ids[i]] = Found(ids[i])
                continue
            found[ids[i]] = Found(
                ids[i], ids[left[up]], "tuned", float(links.distance[k]),
                float(links.confidence[k]),
            )  # fmt: skip
    return [found[run] for population in populations for run in _ids(population)]


def parent_agreement(
    found: Sequence[Found], recorded: Mapping[str, Sequence[str]]
) -> Agreement:
    """Compare with recorded parents, by run_id.

    Of recorded parents only those count that were among the networks.
    """
    there = {one.run_id for one in found}
    counts = dict.fromkeys(("right", "wrong", "missed", "false", "roots"), 0)
    for one in found:
        known = there.intersection(recorded.get(one.run_id, ()))
        if known:
            kind = "missed" if one.parent is None else "wrong"
            kind = "right" if one.parent in known else kind
        else:
            kind = "roots" if one.parent is None else "false"
        counts[kind] += 1
    return Agreement(**counts)


def recorded_parents(populations: Sequence[Population]) -> dict[str, list[str]]:
    """run_ids of recorded parents, by run_id."""
    found = {}
    for population in populations:
        listed = population.table["parents"].to_pylist()
        for run, parents in zip(_ids(population), listed, strict=True):
            found[run] = [parent["run_id"] for parent in parents or ()]
    return found


def _embedded(
    hosts: Population, populations: Sequence[Population], permuted: bool
) -> dict[str, Found]:
    """Which smaller network each host embeds, by the host's run_id."""
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
    return {run: one for run, (_, one) in best.items()}


def _ids(population: Population) -> list[str]:
    ids: list[str] = population.table["run_id"].to_pylist()
    if len(set(ids)) < len(ids):
        raise LayoutMismatch("A run has several checkpoints; lineage takes one of each.")
    return ids
