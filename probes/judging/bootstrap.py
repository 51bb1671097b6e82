"""Confidence intervals of scores, means and shares, mostly by resampling.

Whole groups, such as runs, are resampled if their rows are dependent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, norm
from scipy.stats import t as student_t

from catalog.dtypes import Array

LEVEL = 0.95
DRAWS = 1000
"""Number of resamples of single samples."""


def group_draws(sizes: Sequence[int], replicates: int, rng: np.random.Generator) -> Array:
    """Draw the weight of each group in each bootstrap replicate.

    Parameters
    ----------
    sizes : sequence of int
        Number of groups of every stratum; within each stratum as many groups are drawn
        with replacement.
    replicates : int
        Number of replicates.

    Returns
    -------
    ndarray of shape (replicates, G), float64
        G is the sum of ``sizes``.
    """
    parts = [rng.multinomial(m, np.full(m, 1 / m), replicates) for m in sizes]
    return np.concatenate(parts, axis=1).astype(np.float64)


def left_out(sizes: Sequence[int]) -> Array:
    """Return jackknife weightings (G, G), each without one group."""
    total = sum(sizes)
    return np.ones((total, total)) - np.eye(total)


def bca_interval(point: float, replicates: Array, jackknife: Array) -> tuple[float, float]:
    """Compute the 95 % interval, corrected for bias and skewness (BCa [1]_).

    Parameters
    ----------
    point : float
        Score of the original sample.
    replicates : ndarray of shape (b,)
        Score of every resample; NaN if it is undefined.
    jackknife : ndarray of shape (G,)
        Score without one group, for every group.

    Returns
    -------
    low, high : float
        NaN if there are fewer than two groups, or more than a tenth of the resamples has
        no score.

    References
    ----------
    .. [1] Efron 1987, JASA 82: better bootstrap confidence intervals.
    """
    known = replicates[np.isfinite(replicates)]
    if len(jackknife) < 2 or len(known) < 0.9 * len(replicates) or not np.isfinite(point):
        return np.nan, np.nan
    below = ((known < point).sum() + 0.5 * (known == point).sum()) / len(known)
    if not 0 < below < 1:
        return float(known.min()), float(known.max())
    jackknife = jackknife[np.isfinite(jackknife)]
    if not len(jackknife):
        return np.nan, np.nan
    deviations = jackknife.mean() - jackknife
    spread = (deviations**2).sum()
    acceleration = (deviations**3).sum() / (6 * spread**1.5) if spread > 0 else 0.0
    bias, tails = norm.ppf(below), norm.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    adjusted = bias + (bias + tails) / (1 - acceleration * (bias + tails))
    low, high = np.quantile(known, norm.cdf(adjusted))
    return float(low), float(high)


def without_errors(groups: int) -> float:
    """Return the lower bound on a share that is 1 in all groups (Clopper-Pearson)."""
    return float(binomtest(groups, groups).proportion_ci(LEVEL, method="exact").low)


def resamples(n: int, *, seed: int = 0) -> Array:
    """Draw row numbers (DRAWS, n) of n samples with replacement."""
    return np.random.default_rng(seed).integers(0, n, (DRAWS, n))


def percentile_interval(replicates: Array | Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval between percentiles of resampled values, without NaN."""
    low, high = np.nanquantile(replicates, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def mean_interval(values: Array, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of a mean, by bootstrap over samples."""
    index = resamples(len(values), seed=seed)
    return percentile_interval(np.asarray(values, np.float64)[index].mean(1))


def grouped_interval(values: Array, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of a mean of groups (g, n), such as samples of several fits.

    It is Student's interval of the means of groups, as a bootstrap of five groups is too
    narrow. For a single group it is the interval over its samples, without the variation
    between groups.
    """
    means = np.asarray(values, np.float64).mean(1)
    g = len(means)
    if g == 1:
        return mean_interval(values[0], seed=seed)
    half = float(student_t.ppf(0.975, g - 1) * means.std(ddof=1) / np.sqrt(g))
    return float(means.mean() - half), float(means.mean() + half)


def share_interval(passed: Array) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson), which is valid at 0 and 1 too.

    Examples
    --------
    >>> low, high = share_interval(np.zeros(100, bool))
    >>> round(low, 3), round(high, 3)
    (0.0, 0.037)
    """
    result = binomtest(int(np.count_nonzero(passed)), len(passed))
    low, high = result.proportion_ci(LEVEL, method="wilson")
    return float(low), float(high)
