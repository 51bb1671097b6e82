"""Means of scores over strata and targets, and their confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from probes.judging.bootstrap import bca_interval, group_draws, left_out, without_errors
from probes.judging.scores import Weighted

REPLICATES = 1000
"""Number of resamples for an interval."""


@dataclass(frozen=True)
class Averaged:
    """Mean of a score over strata, as a function of weightings (b, G) of all groups.

    A stratum in which the score of a target is undefined, such as R2 of one value, is left
    out of the mean of that target in all resamples.

    Attributes
    ----------
    sizes : tuple of int
        Number of groups of each stratum.
    parts : tuple of Weighted
        Score in each stratum.
    counted : ndarray of shape (strata, k), bool
        True if the score is defined.
    """

    sizes: tuple[int, ...]
    parts: tuple[Weighted, ...]
    counted: Array

    @classmethod
    def of(cls, sizes: Sequence[int], parts: Sequence[Weighted]) -> Averaged:
        """Make the mean from the score in each stratum."""
        values = [part(np.ones((1, m)))[0] for m, part in zip(sizes, parts, strict=True)]
        return cls(tuple(sizes), tuple(parts), np.isfinite(values))

    def __call__(self, weights: Array) -> Array:
        """Return values (b, k) for weightings (b, G)."""
        cuts = np.cumsum(self.sizes)[:-1]
        stratum_weights = np.split(weights, cuts, axis=1)
        values = [part(w) for part, w in zip(self.parts, stratum_weights, strict=True)]
        return self.mean(np.stack(values))

    def mean(self, values: Array) -> Array:
        """Return the mean (..., k) of values (strata, ..., k) over the counted strata."""
        shape = (len(self.sizes), *[1] * (values.ndim - 2), self.counted.shape[1])
        counted = self.counted.reshape(shape)
        total = np.where(counted, values, 0).sum(0)
        count = np.broadcast_to(counted.sum(0), total.shape)
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

    def resampled(self, target: int | None = None) -> bool:
        """Return True if every counted stratum has several groups to resample."""
        counted = self.counted.any(1) if target is None else self.counted[:, target]
        return bool(counted.any() and (np.array(self.sizes)[counted] > 1).all())


def confidence_intervals(
    value: Callable[[Array], Array], of: Sequence[Averaged], target: int | None = None
) -> tuple[float, float, float]:
    """Compute a value and its 95 % interval by resampling of groups and seeds.

    Parameters
    ----------
    value : callable
        Function from weightings (b, G) to values (seeds, b).
    of : sequence of Averaged
        Mean over strata for each seed.
    target : int, optional
        Index of the target. Default: all targets.

    Returns
    -------
    value, low, high : float
        The interval is NaN if a counted stratum has a single group, as the variation
        between groups is then unknown.
    """
    sizes, seeds = of[0].sizes, len(of)
    point = float(value(np.ones((1, sum(sizes)))).mean())
    if not of[0].resampled(target):
        return point, np.nan, np.nan
    rng = np.random.default_rng(0)
    resampled = value(group_draws(sizes, REPLICATES, rng))
    # Seeds are resampled too, because another fit would have another seed.
    seed_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), REPLICATES) / seeds
    replicates = (resampled * seed_weights.T).sum(0)
    return point, *bca_interval(point, replicates, value(left_out(sizes)).mean(0))


def mean_share(shares: Array) -> tuple[float, float, float]:
    """Compute the mean of shares (G,) from 0 to 1, one per group, and its 95 % interval."""
    mean = Averaged.of(
        [len(shares)],
        [lambda weights: (weights @ shares / weights.sum(1))[:, None]],
    )
    point, low, high = confidence_intervals(lambda weights: mean(weights).T, [mean])
    if len(shares) > 1 and point in (0, 1):
        bound = without_errors(len(shares))
        return (point, bound, 1.0) if point else (point, 0.0, 1 - bound)
    return point, low, high


def over(values: Array, target: int | None) -> Array:
    """Return one target (b,) of values (b, k), or the mean of the targets with a score."""
    if target is not None:
        return values[:, target]
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(1)
    count = known.sum(1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
