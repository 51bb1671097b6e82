"""Judgement of samples as a set: two-sample test and spread in one space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from catalog.dtypes import Array
from generators.judging.two_sample import TwoSample, two_sample


class SpaceSets(NamedTuple):
    """Samples (n, k), held-out and training networks in one space."""

    samples: Array
    heldout: Array
    train: Array

    def test(self, by_halves: bool, seed: int) -> TwoSample:
        """Test the samples against held-out networks, or one half against the other."""
        halves = self.samples[::2], self.samples[1::2]
        pair = halves if by_halves else (self.samples, self.heldout)
        return two_sample(*pair, seed=seed)

    def dispersion(self) -> float:
        """Return the spread of the samples relative to that of training networks."""
        return _rms(self.samples) / _rms(self.train)


def _rms(points: Array) -> float:
    """Return the root mean square distance from the mean."""
    mean = points.mean(0, dtype=np.float64)
    total = sum(
        float(np.square(part - mean).sum())
        for part in np.array_split(points, -(-len(points) // 512))
    )
    return float(np.sqrt(total / len(points)))
