"""Canonical units of trajectories: all checkpoints of a run get one order and scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from catalog import Canonicaliser, Population
from catalog.alignment import (
    Outputs,
    Symmetries,
    SymmetryBroken,
    check_symmetries,
    scalable,
)
from catalog.alignment.canonicaliser import Strategy
from catalog.catalog import architecture_of
from catalog.dtypes import Array
from zoo import Editable, build_architecture, outputs


def last_rows(population: Population) -> tuple[Array, Array]:
    """Rows of each run's last checkpoint, and for every row which of these is its run's.

    Runs come in the order of their first row; of equal steps the first row counts.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa
    >>> from catalog import Layout, Param
    >>> table = pa.table({"run_id": ["a", "b", "a"], "step": [1, 5, 9]})
    >>> some = Population(np.eye(3, dtype=np.float32), Layout((Param("w", (3,)),)), table)
    >>> last_rows(some)
    (array([2, 1]), array([0, 1, 0]))
    """
    runs, steps = population["run_id"], population["step"]
    last: dict[str, int] = {}
    for i, run in enumerate(runs):
        if run not in last or steps[i] > steps[last[run]]:
            last[run] = i
    order = {run: j for j, run in enumerate(last)}
    return np.array(list(last.values())), np.array([order[run] for run in runs])


def fitted_canonicaliser(
    population: Population,
    check: Outputs | Literal[False] | None,
    *,
    strategy: Strategy,
    balance: bool | Sequence[str] | None,
    reference: int | None,
    seed: int,
) -> Canonicaliser:
    """A canonicaliser of the last checkpoints of runs.

    Parameters
    ----------
    check : callable or False, optional
        Outputs of weights, by which every symmetry is tried. None: `zoo.outputs`, where
        architecture and task are recorded.
    balance : bool or sequence of str, optional
        None: the symbols that prove to be rectified, where there are outputs.
    reference : int, optional
        Run, in the order of first rows.

    Raises
    ------
    LayoutMismatch
        If a symmetry is none, or the layout has none.
    """
    ends = population.select(last_rows(population)[0])
    if reference is not None and not 0 <= reference < len(ends):
        raise ValueError(f"reference must be a run, 0 to {len(ends) - 1}. Got {reference}.")
    if check is None and _runnable(population):
        check = outputs(population)
    if balance is None:
        balance = rectified(ends, check) if callable(check) else False
    found = Canonicaliser(strategy, balance=balance, reference=reference, seed=seed)
    return found.fit(ends, check=check)


def in_canonical_units(
    canonicaliser: Canonicaliser | None, population: Population
) -> Population:
    """The networks with units in canonical order and scale, found at each run's end.

    A unit of an early checkpoint is the same unit of the same run later: matching every
    checkpoint for itself would tear the trajectory. None leaves them as they are.
    """
    if canonicaliser is None:
        return population
    last, run = last_rows(population)
    found = canonicaliser.symmetries(population.select(last))
    each = Symmetries(
        {symbol: order[run] for symbol, order in found.permutations.items()},
        {symbol: scale[run] for symbol, scale in found.scales.items()},
    )
    return each.apply(population)


def _runnable(population: Population) -> bool:
    """Whether architecture and task are recorded, so that outputs can be computed."""
    columns = population.table.column_names
    return all(
        name in columns and not population.table[name].null_count
        for name in ("architecture", "task_name")
    )


def runnable(population: Population) -> dict[str, Any] | None:
    """JSON of the architecture of networks that are chains of affine maps, else None.

    None also where no architecture is recorded, or its tensors are not theirs.
    """
    columns = population.table.column_names
    if "architecture" not in columns or population.table["architecture"].null_count:
        return None
    config = architecture_of(population, 0)
    network = build_architecture(config)
    if not isinstance(network, Editable):
        return None
    chain = [f"{name}.{part}" for name in network.affine for part in ("weight", "bias")]
    if [param.name for param in network.layout] != chain:  # also where there are buffers
        return None
    if network.layout.widened() != population.layout.widened():
        return None
    return config


def rectified(population: Population, check: Outputs) -> tuple[str, ...]:
    """Symbols of plain layers whose units may be rescaled without changing outputs.

    Parameters
    ----------
    check : callable
        Outputs of weights, such as `zoo.modules.outputs` gives.

    Raises
    ------
    SymmetryBroken
        If permuting a symbol changes the outputs.
    """
    found = list(scalable(population.layout))
    while found:
        try:
            check_symmetries(population.weights, population.layout, check, scaled=found)
        except SymmetryBroken as broken:
            if broken.symbol not in found:
                raise
            found.remove(broken.symbol)  # tried again without; a permutation fails again
        else:
            return tuple(found)
    check_symmetries(population.weights, population.layout, check)
    return ()
