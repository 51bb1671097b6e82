"""Means over strata and targets of scores, and the interval of such a mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from probes.judging.bootstrap import bca_interval, group_draws, left_out, without_errors
from probes.judging.scores import Weighted

REPLICATES = 1000
"""Resamples behind an interval."""


@dataclass(frozen=True)
class Averaged:
    """The mean over strata of a score, under weightings (b, G) of the groups of all.

    A stratum in which a target has no score, such as R2 of one value, has no part in the
    mean of that target, of whatever resample.

    Attributes
    ----------
    sizes : tuple of int
        Groups of each stratum.
    parts : tuple of Weighted
        The score in each.
    counted : ndarray of shape (strata, k), bool
        Where there is one.
    """

    sizes: tuple[int, ...]
    parts: tuple[Weighted, ...]
    counted: Array

    @classmethod
    def of(cls, sizes: Sequence[int], parts: Sequence[Weighted]) -> Averaged:
        """From the score in each stratum."""
        alone = [part(np.ones((1, m)))[0] for m, part in zip(sizes, parts, strict=True)]
        return cls(tuple(sizes), tuple(parts), np.isfinite(alone))

    def __call__(self, weights: Array) -> Array:
        """Values (b, k)."""
        cuts = np.cumsum(self.sizes)[:-1]
        own = np.split(weights, cuts, axis=1)
        each = [part(w) for part, w in zip(self.parts, own, strict=True)]
        return self.mean(np.stack(each))

    def mean(self, values: Array) -> Array:
        """Mean (..., k) of values (strata, ..., k) of the strata that count."""
        shape = (len(self.sizes), *[1] * (values.ndim - 2), self.counted.shape[1])
        counted = self.counted.reshape(shape)
        total = np.where(counted, values, 0).sum(0)
        count = np.broadcast_to(counted.sum(0), total.shape)
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

    def resampled(self, target: int | None = None) -> bool:
        """Whether every stratum that counts has several groups, whose doubt is known."""
        counted = self.counted.any(1) if target is None else self.counted[:, target]
        return bool(counted.any() and (np.array(self.sizes)[counted] > 1).all())


def confidence_intervals(
    value: Callable[[Array], Array], of: Sequence[Averaged], target: int | None = None
) -> tuple[float, float, float]:
    """Point and 95 % interval.

    Parameters
    ----------
    value : callable
        Values (seeds, b) of weightings (b, G).
    of : sequence of Averaged
        What they are means of, for each seed.
    target : int, optional
        Of which target; default of all.

    Returns
    -------
    value, low, high : float
        No interval (NaN) where a stratum that counts has one group: nothing tells how much
        another one would differ.
    """
    sizes, seeds = of[0].sizes, len(of)
    point = float(value(np.ones((1, sum(sizes)))).mean())
    if not of[0].resampled(target):
        return point, np.nan, np.nan
    rng = np.random.default_rng(0)
    resampled = value(group_draws(sizes, REPLICATES, rng))
    # Seeds are drawn anew as well: whoever fits again has another one.
    chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), REPLICATES) / seeds
    replicates = (resampled * chosen.T).sum(0)
    return point, *bca_interval(point, replicates, value(left_out(sizes)).mean(0))


def mean_share(shares: Array) -> tuple[float, float, float]:
    """Mean of shares (G,) from 0 to 1, one of each group, and its 95 % interval."""
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
    """One target (b,) of values (b, k), or the mean of those that have a score."""
    if target is not None:
        return values[:, target]
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(1)
    count = known.sum(1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
