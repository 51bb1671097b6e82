"""What is gained by a network that was made from others, as columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array
from catalog.schema import Column
from zoo.merging.made_weights import Group, SampleErrors

OVER_MEAN, OVER_BEST = "gain_over_mean_parent", "gain_over_best_parent"
"""Columns of the made networks themselves."""


def gain_columns(name: str, what: str, of: str = "parents") -> tuple[Column, ...]:
    """Columns of parents: what is made from them, and its gain over the mean of ``of``."""
    error = "standard error of {} over the test samples"
    return (
        Column(f"{name}_error", pa.float64(), "fraction", f"test error of {what}"),
        Column(
            f"{name}_gain",
            pa.float64(),
            "fraction",
            f"mean test error of the {of} minus that of {what}; above 0 is better",
        ),
        Column(f"{name}_gain_se", pa.float64(), "fraction", error.format(f"{name}_gain")),
        Column(
            f"{name}_gain_best",
            pa.float64(),
            "fraction",
            f"test error of the parent that is best on the validation split minus that of "
            f"{what}",
        ),
        Column(
            f"{name}_gain_best_se",
            pa.float64(),
            "fraction",
            error.format(f"{name}_gain_best"),
        ),
    )


def gains(
    parents: SampleErrors,
    made: SampleErrors,
    groups: Sequence[Group],
    best: Sequence[int] | Array,
) -> dict[str, Array]:
    """Values (k,) of `gain_columns` without their name, of k made networks.

    Parameters
    ----------
    parents, made : Judged
        On the test split, on the same samples in the same order.
    groups : sequence of k rows
        Parents of each.
    best : sequence of k int
        Row of the best parent of each.
    """
    n, both = len(parents.errors), SampleErrors.concat([parents, made])
    rows = np.arange(len(groups)) + n
    mean = both.gain(groups, rows)
    top = both.gain([[int(i)] for i in best], rows)
    return {
        "error": made.error,
        "gain": mean.values,
        "gain_se": mean.errors,
        "gain_best": top.values,
        "gain_best_se": top.errors,
    }


def spread_out(
    values: Array | Sequence[int], groups: Sequence[Group], n: int, out: Array | None = None
) -> Array:
    """Values (k,) of groups as values (n,) of their members; NaN elsewhere."""
    found = np.full(n, np.nan) if out is None else out
    for value, group in zip(values, groups, strict=True):
        found[np.asarray(group, np.int64)] = value
    return found
