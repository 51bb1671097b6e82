"""From values of pairs to values of the networks that are in them."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array


def pair_means(pairs: Array, values: Array, networks: int) -> tuple[Array, Array]:
    """Mean over the pairs that each network is in, and the standard error of its cell.

    Pairs with a value that is not finite are left out. While there are none, and each
    network has as many pairs, the mean over the networks of a cell is that over its pairs.

    Pairs share seeds, so they are not independent: the standard error is that of the
    cell's mean over pairs, by a jackknife that leaves out one seed with all its pairs [1]_.
    Where values are sums of effects of seeds, its square is unbiased (in a cell of more
    than `zoo.networks.ALL_PAIRS` networks it is 1 / `zoo.networks.PARTNERS` too large).
    The part of the variance that pairs have on their own is stated too large: four times
    with 3 seeds, twice with many.

    Parameters
    ----------
    pairs : ndarray of shape (m, 2)
        As `Networks.pairs` gives them. Networks that pairs link are a cell.
    values : ndarray of shape (m,)
    networks : int

    Returns
    -------
    mean, standard error : ndarray of shape (networks,)
        In units of the values; the error is one value for all networks of a cell. NaN
        without a pair; the error also where fewer than 3 seeds have pairs, or where one
        seed is in every pair.

    References
    ----------
    .. [1] Arvesen 1969, Jackknifing U-statistics.
    """
    known = np.isfinite(values)
    own, each = pairs[known], values[known].astype(np.float64)
    rows, ends = own.reshape(-1), np.repeat(each, 2)
    count = np.bincount(rows, minlength=networks)
    mean = _ratio(np.bincount(rows, ends, networks), count)

    cell = _cells(pairs, networks)
    linked = cell[own[:, 0]]
    number = np.bincount(linked, minlength=networks)  # by cell, as the next ones
    centre = _ratio(np.bincount(linked, each, networks), number)
    off = np.bincount(rows, ends - centre[cell[rows]], networks)
    # Without seed i the mean of its cell's pairs moves by this.
    moved = _ratio(-off, number[cell] - count)
    seeds = np.bincount(cell[count > 0], minlength=networks)
    left = np.where(count > 0, moved, 0.0)
    middle = _ratio(np.bincount(cell, left, networks), seeds)
    squares = np.where(count > 0, (moved - middle[cell]) ** 2, 0.0)
    variance = np.bincount(cell, squares, networks) * _ratio(seeds - 1.0, seeds)
    return mean, np.where(count > 0, np.sqrt(variance[cell]), np.nan)


def _cells(pairs: Array, networks: int) -> Array:
    """For each network the lowest one that chains of pairs link it to."""
    lowest = np.arange(networks)
    while True:
        before = lowest.copy()
        for a, b in ((0, 1), (1, 0)):
            np.minimum.at(lowest, pairs[:, a], lowest[pairs[:, b]])
        lowest = lowest[lowest]
        if np.array_equal(lowest, before):
            return lowest


def _ratio(above: Array, below: Array) -> Array:
    out = np.full(len(above), np.nan)
    return np.divide(above, below, out=out, where=below > 0)
