"""The checkpoints that runs start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from catalog import LayoutMismatch
from catalog import open as open_catalog
from catalog.dtypes import Array
from zoo.stack import Stack

SPLITS = ("split_by_run", "split_by_cell", "split_by_zoo")


@dataclass(frozen=True)
class Parent:
    """A stored checkpoint.

    Attributes
    ----------
    weights : ndarray of shape (d,)
        Where its children start.
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
        If their tensors are not those of the stack's architecture.
    """
    keys = sorted({run.init_from for run in stack.runs if run.init_from})
    if not keys:
        return {}
    quoted = [(run.replace("'", "''"), step) for run, step in keys]
    listed = ", ".join(f"('{run}', {step})" for run, step in quoted)
    population = open_catalog(catalog).load(f"(run_id, step) IN ({listed})")
    wanted = [(p.name, p.shape) for p in stack.architecture.layout]
    if [(p.name, p.shape) for p in population.layout] != wanted:
        raise LayoutMismatch(
            f"Runs of {stack.runs[0].zoo!r} start from networks with other tensors than "
            f"{stack.architecture.name} of the recipe: first of theirs "
            f"{population.layout.params[0].name!r} {population.layout.params[0].shape}, "
            f"of the recipe {wanted[0][0]!r} {wanted[0][1]}. Narrow init_from."
        )
    rows = population.table.select(["run_id", "step", *SPLITS]).to_pylist()
    return {
        (row["run_id"], row["step"]): Parent(weights, {name: row[name] for name in SPLITS})
        for row, weights in zip(rows, population.weights, strict=True)
    }
