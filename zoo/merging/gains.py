"""Gains in test error of networks made from others, as columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array
from catalog.schema import Column
from zoo.merging.made_weights import Group, SampleErrors

OVER_MEAN, OVER_BEST = "gain_over_mean_parent", "gain_over_best_parent"
"""Columns of the derived networks."""


def gain_columns(name: str, what: str, of: str = "parents") -> tuple[Column, ...]:
    """Return columns of parents: error and gains of the network made from them.

    Parameters
    ----------
    name : str
        Start of the column names.
    what : str
        Description of the network made from the parents.
    of : str, default="parents"
        Description of the networks whose mean error the gain is measured against.
    """
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
    """Compute the values (k,) of `gain_columns`, by name without the prefix.

    Parameters
    ----------
    parents, made : SampleErrors
        Errors of the parents and of the k networks made from them, on the same samples
        of the test split in the same order.
    groups : sequence of k rows
        Rows of the parents of each network.
    best : sequence of k int
        Row of the best parent of each network.
    """
    n, all_errors = len(parents.errors), SampleErrors.concat([parents, made])
    rows = np.arange(len(groups)) + n
    over_mean = all_errors.gain(groups, rows)
    over_best = all_errors.gain([[int(i)] for i in best], rows)
    return {
        "error": made.error,
        "gain": over_mean.values,
        "gain_se": over_mean.errors,
        "gain_best": over_best.values,
        "gain_best_se": over_best.errors,
    }


def spread_out(
    values: Array | Sequence[int], groups: Sequence[Group], n: int, out: Array | None = None
) -> Array:
    """Spread values (k,) of groups to values (n,) of their members; NaN elsewhere."""
    member_values = np.full(n, np.nan) if out is None else out
    for value, group in zip(values, groups, strict=True):
        member_values[np.asarray(group, np.int64)] = value
    return member_values
