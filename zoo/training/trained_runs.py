"""Runs of a recipe that a catalogue holds, complete or in part."""

from __future__ import annotations

from collections.abc import Mapping

from catalog.catalog import Catalog
from zoo.engine.stack import build_architecture
from zoo.run import Run


def trained_runs(store: Catalog, runs: Mapping[str, Run]) -> tuple[set[str], int]:
    """Return the runs that need no training, and count those that are here only in part.

    A run that was fetched in part is complete if all of its checkpoints are here with all
    tensors of its architecture.

    Parameters
    ----------
    store : Catalog
    runs : mapping of str to Run
        Runs of a recipe by ``run_id``.
    """
    held = {run_id for (run_id,) in store.sql("SELECT run_id FROM runs").fetchall()}
    known = runs.keys() & held
    rows = store.sql(
        "SELECT run_id, step, s.arch_id FROM checkpoints c JOIN shards s USING (shard) "
        "WHERE run_id IN (SELECT run_id FROM checkpoints JOIN shards USING (shard) "
        "WHERE partial IS NOT NULL)"
    ).fetchall()
    steps: dict[str, set[int]] = {run_id: set() for run_id, _, _ in rows if run_id in known}
    layouts = {arch_id: _names(store, arch_id) for _, _, arch_id in rows}
    expected: dict[str, frozenset[str]] = {}
    for run_id, step, arch_id in rows:
        if run_id not in steps:
            continue
        if run_id not in expected:
            network = build_architecture(dict(runs[run_id].architecture))
            expected[run_id] = frozenset(param.name for param in network.layout)
        if expected[run_id] <= layouts[arch_id]:
            steps[run_id].add(step)
    incomplete = {r for r, there in steps.items() if not there >= {*runs[r].checkpoints}}
    return known - incomplete, len(incomplete)


def _names(store: Catalog, arch_id: str) -> frozenset[str]:
    """Return the tensors of an architecture; none for checkpoints without weights."""
    return frozenset(p.name for p in store.layout(arch_id)) if arch_id else frozenset()
