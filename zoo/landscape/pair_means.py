"""Mean over the pairs of each network, with standard errors."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array
from catalog.schema import Column


def pair_means(pairs: Array, values: Array, networks: int) -> tuple[Array, Array]:
    """Return the mean over the pairs of each network, and the standard error of its cell.

    Pairs with a value that is not finite are left out. If all values are finite and all
    networks have the same number of pairs, the mean over the networks of a cell equals the
    mean over its pairs.

    Pairs share seeds, so they are not independent. The standard error is that of the
    cell's mean over pairs, by a jackknife that leaves out one seed with all its pairs [1]_.
    If values are sums of effects of seeds, the squared standard error is unbiased (in a
    cell of more than `zoo.networks.ALL_PAIRS` networks it is 1 / `zoo.networks.PARTNERS`
    too large). The variance that is specific to pairs is overestimated: by a factor of
    four with 3 seeds, of two with many.

    Parameters
    ----------
    pairs : ndarray of shape (m, 2)
        Pairs as `Networks.pairs` returns them. Networks linked by pairs form a cell.
    values : ndarray of shape (m,)
        Value of each pair.
    networks : int
        Number of networks.

    Returns
    -------
    mean, standard error : ndarray of shape (networks,)
        Mean and standard error in units of the values; the error is the same for all
        networks of a cell. Both are NaN for networks without a pair. The error is also
        NaN where fewer than 3 seeds have pairs, or where one seed is in every pair.

    References
    ----------
    .. [1] Arvesen 1969, Jackknifing U-statistics.
    """
    finite = np.isfinite(values)
    known_pairs, known_values = pairs[finite], values[finite].astype(np.float64)
    rows, ends = known_pairs.reshape(-1), np.repeat(known_values, 2)
    count = np.bincount(rows, minlength=networks)
    mean = _ratio(np.bincount(rows, ends, networks), count)

    cell = _cells(pairs, networks)
    pair_cell = cell[known_pairs[:, 0]]
    pairs_in_cell = np.bincount(pair_cell, minlength=networks)  # by cell
    centre = _ratio(np.bincount(pair_cell, known_values, networks), pairs_in_cell)
    deviation = np.bincount(rows, ends - centre[cell[rows]], networks)
    # Change of the mean of a cell's pairs when seed i is left out.
    shift = _ratio(-deviation, pairs_in_cell[cell] - count)
    seeds = np.bincount(cell[count > 0], minlength=networks)
    shift_or_zero = np.where(count > 0, shift, 0.0)
    mean_shift = _ratio(np.bincount(cell, shift_or_zero, networks), seeds)
    squares = np.where(count > 0, (shift - mean_shift[cell]) ** 2, 0.0)
    variance = np.bincount(cell, squares, networks) * _ratio(seeds - 1.0, seeds)
    return mean, np.where(count > 0, np.sqrt(variance[cell]), np.nan)


def pair_columns(name: str, unit: str, meaning: str) -> tuple[Column, Column]:
    """Return the columns of the two results of `pair_means`."""
    error = f"standard error of the cell's mean {name}: jackknife over 3 seeds or more"
    return (
        Column(name, pa.float64(), unit, meaning),
        Column(f"{name}_se", pa.float64(), unit, error),
    )


def _cells(pairs: Array, networks: int) -> Array:
    """Return the lowest-numbered network of the cell of each network."""
    lowest = np.arange(networks)
    while True:
        before = lowest.copy()
        for a, b in ((0, 1), (1, 0)):
            np.minimum.at(lowest, pairs[:, a], lowest[pairs[:, b]])
        lowest = lowest[lowest]
        if np.array_equal(lowest, before):
            return lowest


def _ratio(above: Array, below: Array) -> Array:
    """Divide; NaN where the divisor is not positive."""
    out = np.full(len(above), np.nan)
    return np.divide(above, below, out=out, where=below > 0)
