"""Two-sample test of samples against held-out networks, by nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from generators.judging.nearest import nearest

MOST = 1000
"""Maximum number of networks of each side."""


@dataclass(frozen=True)
class TwoSample:
    """Leave-one-out accuracy of the nearest-neighbour classifier, on each side.

    Attributes
    ----------
    sampled : float
        Share of samples whose nearest neighbour is a sample: above 0.5 the samples lie
        apart or in clusters.
    heldout : float
        Share of held-out networks whose nearest neighbour is one: above 0.5 the samples
        do not cover the region of the held-out networks.
    count : int
        Number of networks of each side; shares are about 0.5 +- 1 / sqrt(count) if the two
        sides cannot be distinguished.
    """

    sampled: float
    heldout: float
    count: int


def two_sample(sampled: Array, heldout: Array, *, seed: int = 0) -> TwoSample:
    """Test vectors (n, d) against vectors (m, d), with equal numbers drawn by the seed.

    After Lopez-Paz and Oquab, 2017, arXiv:1610.06545, with 1-NN and the accuracy of each
    side separately, as their errors cancel in the mean.
    """
    count = min(len(sampled), len(heldout), MOST)
    rng = np.random.default_rng(seed)
    sides = [
        vectors[rng.permutation(len(vectors))[:count]] for vectors in (sampled, heldout)
    ]
    points = np.concatenate(sides)
    index = np.arange(len(points))
    _, rows = nearest(points, points, count=1, runs=index, other_runs=index)
    same_side = (rows[:, 0] < count) == (index < count)
    return TwoSample(
        float(same_side[:count].mean()), float(same_side[count:].mean()), count
    )
