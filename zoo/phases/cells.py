"""Metrics of networks, averaged over the seeds of each (cell, step)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from catalog import CatalogError
from catalog.dtypes import Array

METRICS = ("train_loss", "mode_connectivity", "logit_cka")
"""What decides the phase."""

PAIRED = METRICS[1:]
"""Those that compare two seeds."""

SHARPNESS = ("hessian_trace", "hessian_top_eig")
"""What is reported beside it, the first that is there."""

FEWEST_SEEDS = 2
"""Connectivity and CKA compare seeds: one network has no phase."""


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
        Networks that count: finite and not diverged.
    mean, error : dict of str to ndarray of shape (c,)
        Per metric (nats, fraction of train error, CKA) the mean over those of these
        networks that have a finite value, and its standard error. NaN where there is
        none, or where nothing tells the error: the stated one of connectivity and CKA
        needs 3 seeds.
    sharpness : ndarray of shape (c,)
        Mean Hessian trace, or top eigenvalue, or NaN. It may be negative.
    reason : ndarray of str, shape (c,)
        Why a cell cannot have any phase; empty where it may.
    member : ndarray of int, shape (n,)
        Entry of each network of the table.
    counts : ndarray of bool, shape (n,)
        Whether the network is one of those averaged.
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
        One row per network and step: ``cell``; where known ``step``, ``load``,
        ``temperature``, ``status`` and ``diverged_step``; ``train_loss`` (nats, evaluated),
        ``mode_connectivity`` (fraction of train error, negative = barrier), ``logit_cka``,
        standard errors of both with ``_se``, ``hessian_trace``, ``hessian_top_eig``. A
        value of a pair of seeds may stand at each of them. Null and NaN are missing.

    Notes
    -----
    A network does not count once it has diverged, or without a finite train loss.

    The standard error of the train loss is that between seeds, unknown where all seeds
    state one value. That of connectivity and CKA is the stated one alone, the mean over
    the cell's networks: their values are means over pairs that share networks, whose
    spread is no standard error.

    Raises
    ------
    CatalogError
        If there is no row, or a row without a cell.
    """
    if not len(table):
        raise CatalogError("There is no network to label: the table of metrics is empty.")
    if "cell" not in table.column_names or table["cell"].null_count:
        raise CatalogError(
            "Every network needs a 'cell': phases belong to cells of a grid."
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
        found = _mean(numbers(table, name), member, counts, size)[0]
        sharp = np.where(np.isnan(sharp), found, sharp)
    lost = np.bincount(member[diverged], minlength=size)
    total = np.bincount(member, minlength=size)
    joined = mean["mode_connectivity"]
    reason = [_reason(seeds[i], lost[i], total[i], joined[i]) for i in range(size)]
    return Cells(
        names[at], step[at], load[at], temperature[at], seeds, mean, error, sharp,
        np.array(reason, dtype=object), member, counts,
    )  # fmt: skip


def _reason(seeds: int, lost: int, total: int, joined: float) -> str:
    if lost and seeds < FEWEST_SEEDS:
        return f"diverged: {lost} of {total} seeds"
    if not seeds:
        return "no finite train_loss"
    if seeds < FEWEST_SEEDS:
        return "one seed only"
    return "no finite mode_connectivity" if np.isnan(joined) else ""


def _mean(values: Array, member: Array, counts: Array, size: int) -> tuple[Array, Array]:
    """Mean over networks, and its standard error between them."""
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
        # Equal to rounding at every seed: one value of the cell, repeated; 0 can be both.
        between[(between <= 1e-12 * np.abs(mean)) & (mean != 0)] = np.nan
    return mean, between


def has_diverged(table: pa.Table, step: Array) -> Array:
    """Whether each network of a table (n,) has diverged by its step."""
    if "status" not in table.column_names:
        return np.zeros(len(table), bool)
    said = np.array([s == "diverged" for s in table["status"].to_pylist()], bool)
    since = numbers(table, "diverged_step")
    return said & (np.isnan(since) | (step >= since))


def numbers(table: pa.Table, name: str, absent: float = np.nan) -> Array:
    """A column as float64, ``absent`` where it is null or not finite."""
    if name not in table.column_names:
        return np.full(len(table), absent)
    column = table[name].cast(pa.float64())
    values: Array = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isfinite(values), values, absent)
