"""Confidence intervals of scores, means and shares, most of them from resampling.

Whole groups are resampled, such as runs, where their rows hang together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, norm
from scipy.stats import t as student_t

from catalog.dtypes import Array

LEVEL = 0.95
DRAWS = 1000
"""Resamples of single samples."""


def group_draws(sizes: Sequence[int], replicates: int, rng: np.random.Generator) -> Array:
    """How often each group counts in each replicate.

    Parameters
    ----------
    sizes : sequence of int
        Groups of every stratum; as many are drawn again, with replacement, of each.
    replicates : int

    Returns
    -------
    ndarray of shape (replicates, G), float64
        G is the sum of ``sizes``.
    """
    parts = [rng.multinomial(m, np.full(m, 1 / m), replicates) for m in sizes]
    return np.concatenate(parts, axis=1).astype(np.float64)


def left_out(sizes: Sequence[int]) -> Array:
    """Weightings (G, G), in each of which one group does not count."""
    total = sum(sizes)
    return np.ones((total, total)) - np.eye(total)


def bca_interval(point: float, replicates: Array, jackknife: Array) -> tuple[float, float]:
    """95 % interval, corrected for bias and skewness (BCa [1]_).

    Parameters
    ----------
    point : float
        The score itself.
    replicates : ndarray of shape (b,)
        The score of every resample; NaN where it has none.
    jackknife : ndarray of shape (G,)
        The score with one group left out.

    Returns
    -------
    low, high : float
        NaN if there are fewer than two groups, or a tenth of the resamples has no score.

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
    pull = jackknife.mean() - jackknife
    spread = (pull**2).sum()
    acceleration = (pull**3).sum() / (6 * spread**1.5) if spread > 0 else 0.0
    bias, tails = norm.ppf(below), norm.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    moved = bias + (bias + tails) / (1 - acceleration * (bias + tails))
    low, high = np.quantile(known, norm.cdf(moved))
    return float(low), float(high)


def without_errors(groups: int) -> float:
    """Return the lower end of a share that all of some groups have (Clopper-Pearson)."""
    return float(binomtest(groups, groups).proportion_ci(LEVEL, method="exact").low)


def resamples(n: int, *, seed: int = 0) -> Array:
    """Return rows (DRAWS, n) of n samples, drawn with replacement."""
    return np.random.default_rng(seed).integers(0, n, (DRAWS, n))


def percentile_interval(replicates: Array | Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval between percentiles of resampled values, NaN left out."""
    low, high = np.nanquantile(replicates, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def mean_interval(values: Array, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of a mean, by bootstrap over samples."""
    index = resamples(len(values), seed=seed)
    return percentile_interval(np.asarray(values, np.float64)[index].mean(1))


def grouped_interval(values: Array, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of a mean of groups (g, n), such as samples of several fits.

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
    """Return the 95 % interval of a share (Wilson): right where none or all pass, too.

    Examples
    --------
    >>> low, high = share_interval(np.zeros(100, bool))
    >>> round(low, 3), round(high, 3)
    (0.0, 0.037)
    """
    result = binomtest(int(np.count_nonzero(passed)), len(passed))
    low, high = result.proportion_ci(LEVEL, method="wilson")
    return float(low), float(high)
