"""Intervals from resampling whole groups, such as runs, whose rows hang together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from catalog.dtypes import Array

LEVEL = 0.95


def draws(sizes: Sequence[int], replicates: int, rng: np.random.Generator) -> Array:
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


def interval(point: float, replicates: Array, jackknife: Array) -> tuple[float, float]:
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
    """Lower end of a share of which every one of some groups has all (Clopper-Pearson)."""
    return float(((1 - LEVEL) / 2) ** (1 / groups))
