"""Loading of the checkpoints that runs start from."""

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
    """Stored checkpoint from which runs, its children, start.

    Attributes
    ----------
    weights : ndarray of shape (d,)
        Initial weights of the children, in the children's layout; NaN where a weight is
        not inherited.
    splits : mapping of str to str
        Fixed splits of the checkpoint. The children inherit them, as a child in another
        split than its parent would leak the parent.
    """

    weights: Array
    splits: Mapping[str, str]


Parents = Mapping[tuple[str, int], Parent]


def read_parents(catalog: str, stack: Stack) -> Parents:
    """Read the parents of a stack's runs, by (run_id, step).

    Raises
    ------
    LayoutMismatch
        If a parent lacks tensors that the stack's architecture inherits.
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
    """Return the initial weights (n, d) in the layout of the children."""
    architecture, parent = stack.architecture, population.layout
    inherits, shapes = architecture.inherits, {p.name: p.shape for p in parent}
    child = architecture.layout
    missing = [c for c, p in inherits.items() if shapes.get(p) != child[c].shape]
    inherits_all = len(inherits) == len(child)
    if missing or (inherits_all and len(parent) != len(child)):
        name = (
            missing[0] if missing else next(p.name for p in parent if p.name not in child)
        )
        expected = (
            f"{inherits[name]!r} {child[name].shape}" if missing else "no such tensor"
        )
        raise LayoutMismatch(
            f"Runs of {stack.runs[0].zoo!r} start from networks with other tensors than "
            f"{architecture.name} of the recipe: expected {expected}, but they have "
            f"{inherits.get(name, name)!r} {shapes.get(inherits.get(name, name))}. Narrow "
            "init_from."
        )
    starts = np.full((len(population), child.d), np.nan, np.float32)
    for child_name, parent_name in inherits.items():
        columns = child.slices[child_name]
        starts[:, columns] = population.weights[:, parent.slices[parent_name]]
    return starts
