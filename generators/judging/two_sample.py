"""Can samples be told from held-out networks? By their nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from generators.judging.nearest import nearest

MOST = 1000
"""Networks of each side."""


@dataclass(frozen=True)
class TwoSample:
    """Leave-one-out accuracy of the nearest-neighbour classifier, on each side.

    Attributes
    ----------
    sampled : float
        Share of samples whose nearest neighbour is a sample: above 0.5 they lie apart or
        in clumps.
    heldout : float
        Share of held-out networks whose nearest neighbour is one: above 0.5 the samples
        leave out where they lie.
    count : int
        Networks of each side; about 0.5 +- 1 / sqrt(count) if nothing tells them apart.
    """

    sampled: float
    heldout: float
    count: int


def two_sample(sampled: Array, heldout: Array, *, seed: int = 0) -> TwoSample:
    """Test vectors (n, d) against vectors (m, d); as many of each, drawn by the seed.

    After Lopez-Paz and Oquab, 2017, arXiv:1610.06545, with 1-NN and the sides apart, as
    their errors cancel in the mean.
    """
    count = min(len(sampled), len(heldout), MOST)
    rng = np.random.default_rng(seed)
    sides = [own[rng.permutation(len(own))[:count]] for own in (sampled, heldout)]
    points = np.concatenate(sides)
    at = np.arange(len(points))
    _, rows = nearest(points, points, count=1, runs=at, other_runs=at)
    same = (rows[:, 0] < count) == (at < count)
    return TwoSample(float(same[:count].mean()), float(same[count:].mean()), count)
