"""Histograms as JSON values: edges and counts."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from catalog.dtypes import Array


class Histogram(TypedDict):
    """Histogram as JSON values.

    Attributes
    ----------
    edges : list of float
        Edges of the bins, one more than ``counts``. Bin i holds the values with
        ``edges[i] <= value < edges[i + 1]``; the last bin also holds its upper edge. If
        all values are equal, there is one bin with two equal edges.
    counts : list of int
        Number of finite values per bin.
    nonfinite : int
        Number of values that are NaN or infinite and therefore in no bin.
    """

    edges: list[float]
    counts: list[int]
    nonfinite: int


def histogram(values: Array, bins: int = 12) -> Histogram:
    """Return the histogram of real values between their extremes, in equal bins.

    Parameters
    ----------
    values : ndarray of real numbers or bools, any shape
        Values to count.
    bins : int, default=12
        Number of bins, at least 1.

    Examples
    --------
    >>> histogram(np.array([0.0, 0.1, 1.0, np.nan]), 2)
    {'edges': [0.0, 0.5, 1.0], 'counts': [2, 1], 'nonfinite': 1}
    """
    if bins < 1:
        raise ValueError(f"The 'bins' parameter of histogram must be >= 1. Got {bins}.")
    flat = np.asarray(values).reshape(-1).astype(np.float64)
    finite = flat[np.isfinite(flat)]
    nonfinite = len(flat) - len(finite)
    if not len(finite):
        return Histogram(edges=[], counts=[], nonfinite=nonfinite)
    low, high = float(finite.min()), float(finite.max())
    share = np.linspace(0.0, 1.0, bins + 1)
    edges = low * (1 - share) + high * share  # high - low may overflow
    edges[0], edges[-1] = low, high
    if not (edges[1:] > edges[:-1]).all():  # one value, or too close for so many bins
        return Histogram(edges=[low, high], counts=[len(finite)], nonfinite=nonfinite)
    counts, _ = np.histogram(finite, edges)
    return Histogram(edges=edges.tolist(), counts=counts.tolist(), nonfinite=nonfinite)
