"""From values of pairs to values of the networks that are in them."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array


def pair_means(pairs: Array, values: Array, networks: int) -> tuple[Array, Array]:
    """Mean over the pairs that each network is in, and its standard error.

    Pairs with a value that is not finite are left out. While there are none, the mean
    over the networks of a cell is the mean over its pairs. The standard error takes a
    network's pairs as independent given that network.

    Parameters
    ----------
    pairs : ndarray of shape (m, 2)
        As `Networks.pairs` gives them.
    values : ndarray of shape (m,)
    networks : int

    Returns
    -------
    mean, standard error : ndarray of shape (networks,)
        NaN without a pair; the standard error also with a single one.
    """
    known = np.isfinite(values)
    rows = pairs[known].reshape(-1)
    each = np.repeat(values[known].astype(np.float64), 2)
    count = np.bincount(rows, minlength=networks)
    mean = _ratio(np.bincount(rows, each, networks), count)
    squares = np.bincount(rows, (each - mean[rows]) ** 2, networks)
    return mean, np.sqrt(_ratio(squares, count * (count - 1)))


def _ratio(above: Array, below: Array) -> Array:
    out = np.full(len(above), np.nan)
    return np.divide(above, below, out=out, where=below > 0)
