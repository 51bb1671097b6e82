"""Metrics of networks, averaged over the seeds of each (cell, step)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from catalog import CatalogError
from catalog.dtypes import Array

METRICS = ("train_loss", "mode_connectivity", "logit_cka")
"""Metrics that decide the phase."""

PAIRED = METRICS[1:]
"""Metrics that compare two seeds."""

SHARPNESS = ("hessian_trace", "hessian_top_eig")
"""Metrics of sharpness; the first that is present is reported beside the phase."""

FEWEST_SEEDS = 2
"""Minimum number of seeds of a cell with a phase, as connectivity and CKA compare seeds."""


@dataclass(frozen=True)
class Cells:
    """Means over seeds; one entry per (cell, step), in order of load, temperature, step.

    Attributes
    ----------
    cell : ndarray of str, shape (c,)
        Name of the cell.
    step : ndarray of int, shape (c,)
        Optimiser steps taken.
    load, temperature : ndarray of shape (c,)
        Position on the grid, NaN where the zoo has none.
    seeds : ndarray of int, shape (c,)
        Number of networks that count: with a finite train loss and not diverged.
    mean, error : dict of str to ndarray of shape (c,)
        Mean of each metric (nats, fraction of train error, CKA) and its standard error,
        over the networks that count and have a finite value. The mean is NaN if there is
        no such network; the error is NaN if it is not known: the stated error of
        connectivity and CKA needs 3 seeds.
    sharpness : ndarray of shape (c,)
        Mean Hessian trace, or mean top eigenvalue, or NaN. It may be negative.
    reason : ndarray of str, shape (c,)
        Reason why a cell cannot have any phase; empty if it can.
    member : ndarray of int, shape (n,)
        Index of the entry that each network of the table belongs to.
    counts : ndarray of bool, shape (n,)
        Whether the network is included in the means.
    """

    cell: Array
    step: Array
    load: Array
    temperature: Array
    seeds: Array
    mean: dict[str, Array]
    error: dict[str, Array]
    sharpness: Array
    reason: Array
    member: Array
    counts: Array

    def __len__(self) -> int:
        return len(self.cell)


def cell_means(table: pa.Table) -> Cells:
    """Average the networks of each (cell, step).

    Parameters
    ----------
    table : pyarrow.Table
        One row per network and step, with the column ``cell``; if known ``step``,
        ``load``, ``temperature``, ``status`` and ``diverged_step``; the metrics
        ``train_loss`` (nats, evaluated), ``mode_connectivity`` (fraction of train error,
        negative = barrier) and ``logit_cka``; the standard errors of the latter two, with
        the suffix ``_se``; ``hessian_trace`` and ``hessian_top_eig``. The value of a pair
        of seeds may be repeated in the row of each of the two. Null and NaN are missing
        values.

    Returns
    -------
    Cells
        Means, standard errors and the reason why a cell has no phase.

    Raises
    ------
    CatalogError
        If the table has no row, or a row has no cell.

    Notes
    -----
    A network does not count once it has diverged, or without a finite train loss.

    The standard error of the train loss is computed between seeds; it is unknown if all
    seeds state the same value. The standard error of connectivity and CKA is the mean of
    the stated errors of the cell's networks: the values of these metrics are means over
    pairs that share networks, so their spread is no standard error.
    """
    if not len(table):
        raise CatalogError("No network to label: the table of metrics is empty.")
    if "cell" not in table.column_names or table["cell"].null_count:
        raise CatalogError(
            "Every network needs a 'cell', as phases belong to the cells of a grid."
        )
    n = len(table)
    names = np.array(table["cell"].to_pylist(), dtype=str)
    step = numbers(table, "step", 0.0).astype(np.int64)
    load, temperature = numbers(table, "load"), numbers(table, "temperature")
    order = np.lexsort((step, names, temperature, load))
    first = np.ones(n, bool)
    first[1:] = (names[order][1:] != names[order][:-1]) | (np.diff(step[order]) != 0)
    member = np.empty(n, np.int64)
    member[order] = np.cumsum(first) - 1
    at = order[first]
    size = len(at)
    diverged = has_diverged(table, step)
    values = {name: numbers(table, name) for name in METRICS}
    broken = np.isnan(values["train_loss"])
    counts = ~diverged & ~broken
    seeds = np.bincount(member[counts], minlength=size)
    mean, error = {}, {}
    for name in METRICS:
        mean[name], error[name] = _mean(values[name], member, counts, size)
        if name in PAIRED:
            stated = np.where(np.isnan(values[name]), np.nan, numbers(table, f"{name}_se"))
            error[name] = _mean(stated, member, counts, size)[0]
    sharp = np.full(size, np.nan)
    for name in SHARPNESS:
        candidate = _mean(numbers(table, name), member, counts, size)[0]
        sharp = np.where(np.isnan(sharp), candidate, sharp)
    lost = np.bincount(member[diverged], minlength=size)
    total = np.bincount(member, minlength=size)
    connectivity = mean["mode_connectivity"]
    reason = [_reason(seeds[i], lost[i], total[i], connectivity[i]) for i in range(size)]
    return Cells(
        names[at], step[at], load[at], temperature[at], seeds, mean, error, sharp,
        np.array(reason, dtype=object), member, counts,
    )  # fmt: skip


def _reason(seeds: int, lost: int, total: int, connectivity: float) -> str:
    """Return the reason why a cell cannot have any phase, or an empty string."""
    if lost and seeds < FEWEST_SEEDS:
        return f"diverged: {lost} of {total} seeds"
    if not seeds:
        return "no finite train_loss"
    if seeds < FEWEST_SEEDS:
        return "one seed only"
    return "no finite mode_connectivity" if np.isnan(connectivity) else ""


def _mean(values: Array, member: Array, counts: Array, size: int) -> tuple[Array, Array]:
    """Return the mean over the networks of each cell, and its standard error."""
    use = counts & np.isfinite(values)
    number = np.bincount(member[use], minlength=size)
    total = np.bincount(member[use], values[use], minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / number
        off = (values[use] - mean[member[use]]) ** 2
        between = np.sqrt(
            np.bincount(member[use], off, minlength=size) / (number - 1.0) / number
        )
        between[number < 2] = np.nan
        # Values that are equal up to rounding are one value of the cell, repeated at every
        # seed, so nothing is known of its error; zeros can also be measured separately.
        between[(between <= 1e-12 * np.abs(mean)) & (mean != 0)] = np.nan
    return mean, between


def has_diverged(table: pa.Table, step: Array) -> Array:
    """Return whether each network of a table (n,) has diverged by its step."""
    if "status" not in table.column_names:
        return np.zeros(len(table), bool)
    diverged = np.array([s == "diverged" for s in table["status"].to_pylist()], bool)
    since = numbers(table, "diverged_step")
    return diverged & (np.isnan(since) | (step >= since))


def numbers(table: pa.Table, name: str, absent: float = np.nan) -> Array:
    """Return a column as float64, with ``absent`` for nulls and values not finite."""
    if name not in table.column_names:
        return np.full(len(table), absent)
    column = table[name].cast(pa.float64())
    values: Array = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isfinite(values), values, absent)
