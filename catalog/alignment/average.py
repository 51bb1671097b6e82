"""Averages of networks as new networks with a record of their parents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array
from catalog.errors import LayoutMismatch
from catalog.layout import Layout
from catalog.names import content_id
from catalog.population import Population
from catalog.schema import PARENTS, RUNS
from catalog.storage.splits import MIXED

VERSION = 2
"""Version of the averaging procedure: part of the identity of an average."""
AVERAGES = "_averages"
"""Suffix of the name of a zoo of averages: in the zoo of their parents, averages would
count as seeds of the cells."""
_NOT_INHERITED = {
    "run_id",
    "zoo",
    "source",
    "source_name",
    "parents",
    "status",
    "diverged_step",
}
_NOT_INHERITED |= {"config", "code_version", "engine", "created"}
INHERITED = tuple(column.name for column in RUNS if column.name not in _NOT_INHERITED)
"""Columns of `runs` that derived networks inherit from their parents, see `inherited`."""


def average(
    population: Population | Sequence[Population],
    groups: Sequence[Sequence[int] | Array],
    *,
    weights: Sequence[Sequence[float] | Array] | None = None,
) -> Population:
    """Average each group of networks: all parameters, including biases, and all buffers.

    Align networks of different seeds first, see `Canonicaliser`. Running statistics of
    normalisation layers are averaged as well; the averages are only a starting point and
    should be re-estimated on training data.

    Parameters
    ----------
    population : Population or sequence of Population
        The networks. The rows of several populations are numbered consecutively.
    groups : sequence of sequences of int
        Rows of each group, at least one. A row may belong to several groups.
    weights : sequence of sequences of float, optional
        Weight of each row within its group; the weights of a group sum to 1. Default:
        equal weights.

    Returns
    -------
    Population
        One row per group. ``run_id`` is a hash of the parents, their weights and the
        mean itself, because the same networks with their units in another order have
        another mean. ``step`` is the largest step of the parents, ``zoo`` is the zoo of
        the parents followed by `AVERAGES`, ``source`` is "derived", and ``parents`` lists
        the parents (role "average"). Columns of `runs` on which all parents agree are
        kept, including the splits. A split on which the parents disagree is `MIXED`: in
        the split of one parent, the average would leak the data of another. A counter is
        the largest of the group, since no other value says how many batches were seen.
        Tensors of 16 bits become float32.

    Raises
    ------
    LayoutMismatch
        If layouts differ, constants within a group differ, rows do not exist, weights do
        not sum to 1, or values are not finite.

    Examples
    --------
    >>> from catalog import Param
    >>> table = pa.table({"run_id": ["a", "b"], "step": [10, 20]})
    >>> two = Population(np.float32([[1, 2], [3, 6]]), Layout((Param("w", (2,)),)), table)
    >>> mean = average(two, [[0, 1]])
    >>> mean.weights, mean["step"], mean.table["parents"][0].as_py()[1]["run_id"]
    (array([[2., 4.]], dtype=float32), array([20]), 'b')
    """
    if not isinstance(population, Population):
        population = _joined(population)
    rows, shares = _checked(population, groups, weights)
    layout = population.layout.widened()
    means = np.empty((len(rows), layout.d), np.float32)
    extra = {
        param.name: np.empty((len(rows), *param.shape), population.extra[param.name].dtype)
        for param in layout.extra
    }
    for g, (index, share) in enumerate(zip(rows, shares, strict=True)):
        means[g] = share @ population.weights[index].astype(np.float64)
        for param in layout.extra:
            values = population.extra[param.name][index]
            if param.role == "constant" and (values != values[:1]).any():
                raise LayoutMismatch(
                    f"Constant {param.name!r} differs within group {g} (rows "
                    f"{index.tolist()[:8]}), so these networks compute different "
                    "functions. Group only networks whose constants are equal."
                )
            extra[param.name][g] = values.max(0) if param.role == "counter" else values[0]
    return Population(means, layout, _table(population, rows, shares, means), extra)


def _joined(populations: Sequence[Population]) -> Population:
    first = populations[0].layout if populations else None
    for other in populations[1:]:
        if first is not None and other.layout != first:
            difference = first.difference(other.layout)
            advice = (
                "The tensors are the same and only the axes differ: copy the layout of one "
                "population to the other, dataclasses.replace(population, "
                "layout=other.layout)"
                if _without_axes(first) == _without_axes(other.layout)
                else "Average networks of one architecture, e.g. "
                ".load(\"arch_id = '...'\"); to compare networks of different sizes, "
                "ensemble their outputs"
            )
            raise LayoutMismatch(
                f"Cannot average layout {first.id} (d = {first.d}) with layout "
                f"{other.layout.id} (d = {other.layout.d}): {difference}. {advice}."
            )
    return Population.concat(populations)


def _without_axes(layout: Layout) -> list[tuple[Any, ...]]:
    return [(p.name, p.shape, p.dtype, p.role) for p in layout]


def _checked(
    population: Population,
    groups: Sequence[Sequence[int] | Array],
    weights: Sequence[Sequence[float] | Array] | None,
) -> tuple[list[Array], list[Array]]:
    n, rows, shares = len(population), [], []
    if weights is not None and len(weights) != len(groups):
        raise LayoutMismatch(
            f"Got {len(weights)} lists of weights for {len(groups)} groups; give one list "
            "per group."
        )
    for g, group in enumerate(groups):
        index = np.asarray(group)
        is_index = index.ndim == 1 and index.size and index.dtype.kind in "iu"
        if not is_index or index.min() < 0 or index.max() >= n:
            raise LayoutMismatch(
                f"Group {g} must hold at least one row, each from 0 to {n - 1}. Got "
                f"{np.asarray(group).tolist()}."
            )
        share = np.full(len(index), 1 / len(index))
        if weights is not None:
            share = np.asarray(weights[g], np.float64)
            if share.shape != index.shape or not abs(share.sum() - 1) < 1e-6:
                raise LayoutMismatch(
                    f"Weights of group {g} must be {len(index)} numbers that sum to 1. Got "
                    f"{share.tolist()}."
                )
        if not np.isfinite(population.weights[index]).all():
            finite = np.isfinite(population.weights[index]).all(1)
            raise LayoutMismatch(
                f"Row {index[~finite][0]} of group {g} holds values that are not finite; "
                "leave the row out."
            )
        rows.append(index.astype(np.int64))
        shares.append(share)
    return rows, shares


def _table(
    population: Population, rows: list[Array], shares: list[Array], means: Array
) -> pa.Table:
    runs, steps = population["run_id"].tolist(), population["step"].tolist()
    records: dict[str, list[Any]] = {"run_id": [], "step": [], "config": [], "parents": []}
    for index, share, mean in zip(rows, shares, means, strict=True):
        parents = [(str(runs[i]), int(steps[i])) for i in index]
        config = {
            "operation": "average",
            "version": VERSION,
            "parents": [list(parent) for parent in parents],
            "weights": share.tolist(),
            "mean": hashlib.sha256(mean.tobytes()).hexdigest()[:32],
        }
        records["run_id"].append(content_id(config))
        records["step"].append(max(step for _, step in parents))
        records["config"].append(json.dumps(config))
        records["parents"].append(
            [{"run_id": r, "step": s, "role": "average"} for r, s in parents]
        )
    columns = {
        "run_id": pa.array(records["run_id"], pa.string()),
        "step": pa.array(records["step"], pa.int64()),
        "source": pa.array(["derived"] * len(rows), pa.string()),
        "config": pa.array(records["config"], pa.string()),
        "parents": pa.array(records["parents"], PARENTS),
    }
    if "zoo" in population.table.column_names:
        zoos = population.table["zoo"].to_pylist()
        parent_zoos = [inherited("zoo", [zoos[i] for i in index]) for index in rows]
        zoo_names = [None if zoo is None else f"{zoo}{AVERAGES}" for zoo in parent_zoos]
        columns["zoo"] = pa.array(zoo_names, pa.string())
    for name in INHERITED:
        if name in population.table.column_names:
            column = population.table[name]
            values = column.to_pylist()
            common = [inherited(name, [values[i] for i in index]) for index in rows]
            columns[name] = pa.array(common, column.type)
    return pa.table(columns)


def inherited(name: str, values: Sequence[Any]) -> Any:
    """Return the value that a derived network inherits in a column from its parents.

    Parameters
    ----------
    name : str
        Name of the column.
    values : sequence
        Values of the parents.

    Returns
    -------
    object
        The common value if all parents agree; otherwise `MIXED` for a split, else None.
    """
    if all(value == values[0] for value in values):
        return values[0]
    return MIXED if name.startswith("split_by_") else None
