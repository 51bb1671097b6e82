"""The checkpoints that runs start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from catalog import LayoutMismatch, Population
from catalog import open as open_catalog
from catalog.dtypes import Array
from zoo.engine.stack import Stack

SPLIT_COLUMNS = ("split_by_run", "split_by_cell", "split_by_zoo")


@dataclass(frozen=True)
class Parent:
    """A stored checkpoint.

    Attributes
    ----------
    weights : ndarray of shape (d,)
        Where its children start, in the layout of theirs; NaN of what they do not inherit.
    splits : mapping of str to str
        Its fixed splits, which its children inherit: a child that lands in another
        split than its parent would leak it.
    """

    weights: Array
    splits: Mapping[str, str]


Parents = Mapping[tuple[str, int], Parent]


def read_parents(catalog: str, stack: Stack) -> Parents:
    """The parents of a stack's runs by (run_id, step).

    Raises
    ------
    LayoutMismatch
        If they lack tensors that the stack's architecture inherits.
    """
    keys = sorted({run.init_from for run in stack.runs if run.init_from})
    if not keys:
        return {}
    runs, steps = zip(*keys, strict=True)
    wanted = pa.table({"run_id": pa.array(runs, pa.string()), "step": steps})
    population = open_catalog(catalog).select(wanted).population()
    starts = _inherited(population, stack)
    rows = population.table.select(["run_id", "step", *SPLIT_COLUMNS]).to_pylist()
    return {
        (row["run_id"], row["step"]): Parent(
            weights, {name: row[name] for name in SPLIT_COLUMNS}
        )
        for row, weights in zip(rows, starts, strict=True)
    }


def _inherited(population: Population, stack: Stack) -> Array:
    """Weights (n, d) in the layout of the children."""
    architecture, theirs = stack.architecture, population.layout
    wanted, shapes = architecture.inherits, {p.name: p.shape for p in theirs}
    ours = architecture.layout
    missing = [o for o, t in wanted.items() if shapes.get(t) != ours[o].shape]
    whole = len(wanted) == len(ours)
    if missing or (whole and len(theirs) != len(ours)):
        name = missing[0] if missing else next(p.name for p in theirs if p.name not in ours)
        expected = f"{wanted[name]!r} {ours[name].shape}" if missing else "no such tensor"
        raise LayoutMismatch(
            f"Runs of {stack.runs[0].zoo!r} start from networks with other tensors than "
            f"{architecture.name} of the recipe: expected {expected}, they have "
            f"{wanted.get(name, name)!r} {shapes.get(wanted.get(name, name))}. Narrow "
            "init_from."
        )
    starts = np.full((len(population), ours.d), np.nan, np.float32)
    for own, their in wanted.items():
        starts[:, ours.slices[own]] = population.weights[:, theirs.slices[their]]
    return starts
