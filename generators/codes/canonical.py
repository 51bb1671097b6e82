"""Canonical units of trajectories: all checkpoints of a run get one order and scale."""

from __future__ import annotations

import numpy as np

from catalog import Canonicaliser, Population
from catalog.alignment.canonicaliser import Symmetries
from catalog.dtypes import Array


def last_checkpoints(population: Population) -> tuple[Array, Array]:
    """Rows of each run's last checkpoint, and for every row which of these is its run's.

    Runs come in the order of their first row; of equal steps the first row counts.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa
    >>> from catalog import Layout, Param
    >>> table = pa.table({"run_id": ["a", "b", "a"], "step": [1, 5, 9]})
    >>> some = Population(np.eye(3, dtype=np.float32), Layout((Param("w", (3,)),)), table)
    >>> last_checkpoints(some)
    (array([2, 1]), array([0, 1, 0]))
    """
    runs, steps = population["run_id"], population["step"]
    last: dict[str, int] = {}
    for i, run in enumerate(runs):
        if run not in last or steps[i] > steps[last[run]]:
            last[run] = i
    order = {run: j for j, run in enumerate(last)}
    return np.array(list(last.values())), np.array([order[run] for run in runs])


def in_canonical_units(canonicaliser: Canonicaliser, population: Population) -> Population:
    """The networks with units in canonical order and scale, found at each run's end.

    A unit of an early checkpoint is the same unit of the same run later: matching every
    checkpoint for itself would tear the trajectory.
    """
    last, run = last_checkpoints(population)
    found = canonicaliser.symmetries(population.select(last))
    each = Symmetries(
        {symbol: order[run] for symbol, order in found.permutations.items()},
        {symbol: scale[run] for symbol, scale in found.scales.items()},
    )
    return each.apply(population)
