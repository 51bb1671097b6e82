"""Comparison of requested and measured values of conditions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from probes.judging.bootstrap import percentile_interval, resamples


@dataclass(frozen=True)
class Control:
    """Requested and measured values of one column.

    Attributes
    ----------
    slope : float
        Slope of the least-squares line of measured over requested values: 1 if samples
        follow the condition, 0 if they ignore it; NaN if only one value was requested.
    low, high : float
        95 % confidence interval of the slope, by bootstrap over samples.
    error : float
        Mean absolute difference of measured and requested values.
    """

    slope: float
    low: float
    high: float
    error: float


def control(requested: Array, measured: Array, *, seed: int = 0) -> Control:
    """Compare measured values (n,) with requested values (n,).

    Examples
    --------
    >>> found = control(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.5, 2.0]))
    >>> found.slope, found.error
    (0.5, 0.5)
    """
    x, y = np.asarray(requested, np.float64), np.asarray(measured, np.float64)
    error = float(np.abs(x - y).mean())
    if len(np.unique(x)) < 2:
        return Control(np.nan, np.nan, np.nan, error)
    slopes = [_slope(x[i], y[i]) for i in resamples(len(x), seed=seed)]
    return Control(_slope(x, y), *percentile_interval(slopes), error)


def _slope(x: Array, y: Array) -> float:
    centred = x - x.mean()
    square = float(centred @ centred)
    return float(centred @ (y - y.mean()) / square) if square > 0 else float("nan")
