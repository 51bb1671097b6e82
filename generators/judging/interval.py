"""Intervals of what is estimated from samples."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student_t

from catalog.dtypes import Array

DRAWS = 1000
NORMAL = 1.959963984540054


def mean_interval(values: Array, *, seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean, by bootstrap over samples."""
    rng = np.random.default_rng(seed)
    index = rng.integers(0, len(values), (DRAWS, len(values)))
    low, high = np.quantile(np.asarray(values, np.float64)[index].mean(1), (0.025, 0.975))
    return float(low), float(high)


def grouped_interval(values: Array, *, seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean of groups (g, n), such as samples of several fits.

    Student's, of the means of groups: a bootstrap of five groups is too narrow. Of one
    group it is that of its samples, and knows nothing of others.
    """
    means = np.asarray(values, np.float64).mean(1)
    g = len(means)
    if g == 1:
        return mean_interval(values[0], seed=seed)
    half = float(student_t.ppf(0.975, g - 1) * means.std(ddof=1) / np.sqrt(g))
    return float(means.mean() - half), float(means.mean() + half)


def share_interval(passed: Array) -> tuple[float, float]:
    """95 % interval of a share, after Wilson: right where none or all pass, too.

    Examples
    --------
    >>> low, high = share_interval(np.zeros(100, bool))
    >>> round(low, 3), round(high, 3)
    (0.0, 0.037)
    """
    n, share = len(passed), float(np.mean(passed))
    z2 = NORMAL**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # Rounding must not leave the ends.
    low = 0.0 if share == 0 else float(middle - half)
    return low, 1.0 if share == 1 else float(middle + half)
