"""Seven statistics of a tensor: mean, standard deviation and five percentiles."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array

PERCENTILES = (0, 25, 50, 75, 100)
MOMENTS = ("mean", "std", *(f"p{q}" for q in PERCENTILES))
"""Names of the columns of `moments`."""

_BYTES = 32 << 20
"""Bytes of values that are sorted at a time."""


def moments(values: Array) -> Array:
    """Compute mean, standard deviation and percentiles of each row [1]_.

    One sort in float32 per row gives all percentiles, which on wide vector units takes a
    fifth of the time of ``numpy.percentile``. Memory is 32 MB of sorted values, or one row.

    Parameters
    ----------
    values : ndarray of shape (n, m)
        Rows may be strided; m >= 1.

    Returns
    -------
    ndarray of shape (n, 7), float64
        Columns `MOMENTS`, in units of the weights.

    References
    ----------
    .. [1] Unterthiner et al. 2020, arXiv:2002.11448, who use the variance; the standard
       deviation has the units of the other six statistics.

    Examples
    --------
    >>> moments(np.array([[1.0, 3.0, 2.0, 5.0, 4.0]])).round(3).tolist()
    [[3.0, 1.414, 1.0, 2.0, 3.0, 4.0, 5.0]]
    """
    n, m = values.shape
    result = np.empty((n, len(MOMENTS)))
    position = np.array(PERCENTILES) / 100 * (m - 1)
    low = np.floor(position).astype(np.int64)
    high, share = np.minimum(low + 1, m - 1), position - low
    step = max(_BYTES // (4 * m), 1)
    for first in range(0, n, step):
        rows = slice(first, min(first + step, n))
        ordered = np.sort(np.ascontiguousarray(values[rows], np.float32), axis=1)
        below = ordered[:, low].astype(np.float64)
        result[rows, 2:] = below + share * (ordered[:, high] - below)
        result[rows, 0] = ordered.mean(1)
        result[rows, 1] = ordered.std(1)
        constant = (
            ordered[:, 0] == ordered[:, -1]
        )  # the computed mean of equal values has a rounding error
        result[rows, 0][constant] = ordered[constant, 0]
        result[rows, 1][constant] = 0
    return result
