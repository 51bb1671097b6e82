"""Canonical units of trajectories: one order and scale for all checkpoints of a run."""

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
    """Return the rows of the last checkpoint of each run, and the run of every row.

    Runs are numbered in the order of their first row; of equal steps the first row counts.

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
    """Fit a canonicaliser to the last checkpoints of runs.

    Parameters
    ----------
    population : Population
        Training networks.
    check : callable or False, optional
        Function from weights to outputs with which every symmetry is verified. None:
        `zoo.outputs` if architecture and task are recorded.
    strategy : str
        Strategy of `Canonicaliser`.
    balance : bool or sequence of str, optional
        Symbols whose scales are balanced. None: the symbols that prove to be rectified, if
        outputs can be computed.
    reference : int, optional
        Run that alignment starts with, in the order of first rows.
    seed : int
        Seed of the canonicaliser.

    Raises
    ------
    LayoutMismatch
        If a supposed symmetry changes the outputs, or the layout has no symmetry.
    """
    ends = population.select(last_rows(population)[0])
    if reference is not None and not 0 <= reference < len(ends):
        raise ValueError(
            f"reference must be the number of a run, 0 to {len(ends) - 1}. Got {reference}."
        )
    if check is None and _has_outputs(population):
        check = outputs(population)
    if balance is None:
        balance = rectified(ends, check) if callable(check) else False
    canonicaliser = Canonicaliser(strategy, balance=balance, reference=reference, seed=seed)
    return canonicaliser.fit(ends, check=check)


def in_canonical_units(
    canonicaliser: Canonicaliser | None, population: Population
) -> Population:
    """Put units in canonical order and scale, as found at the last checkpoint of each run.

    A unit of an early checkpoint is the same unit of the same run later: matching every
    checkpoint separately would tear the trajectory. With None networks stay as they are.
    """
    if canonicaliser is None:
        return population
    last, run = last_rows(population)
    symmetries = canonicaliser.symmetries(population.select(last))
    row_symmetries = Symmetries(
        {symbol: order[run] for symbol, order in symmetries.permutations.items()},
        {symbol: scale[run] for symbol, scale in symmetries.scales.items()},
    )
    return row_symmetries.apply(population)


def _has_outputs(population: Population) -> bool:
    """Return whether architecture and task are recorded, so outputs can be computed."""
    columns = population.table.column_names
    return all(
        name in columns and not population.table[name].null_count
        for name in ("architecture", "task_name")
    )


def runnable(population: Population) -> dict[str, Any] | None:
    """Return the JSON of the architecture if the networks are chains of affine maps.

    None otherwise, and also if no architecture is recorded or its tensors differ from those
    of the networks.
    """
    columns = population.table.column_names
    if "architecture" not in columns or population.table["architecture"].null_count:
        return None
    config = architecture_of(population, 0)
    network = build_architecture(config)
    if not isinstance(network, Editable):
        return None
    chain = [f"{name}.{part}" for name in network.affine for part in ("weight", "bias")]
    if [param.name for param in network.layout] != chain:  # also excludes buffers
        return None
    if network.layout.widened() != population.layout.widened():
        return None
    return config


def rectified(population: Population, check: Outputs) -> tuple[str, ...]:
    """Return the symbols of plain layers whose units can be rescaled without effect.

    Parameters
    ----------
    population : Population
        Networks on which the symbols are tried.
    check : callable
        Function from weights to outputs, such as `zoo.modules.outputs` gives.

    Raises
    ------
    SymmetryBroken
        If permuting a symbol changes the outputs.
    """
    candidates = list(scalable(population.layout))
    while candidates:
        try:
            check_symmetries(
                population.weights, population.layout, check, scaled=candidates
            )
        except SymmetryBroken as broken:
            if broken.symbol not in candidates:
                raise
            candidates.remove(
                broken.symbol
            )  # retry without it; a broken permutation raises again
        else:
            return tuple(candidates)
    check_symmetries(population.weights, population.layout, check)
    return ()
