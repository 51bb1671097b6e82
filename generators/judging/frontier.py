"""Frontier of the best accuracy that nulls reach at each novelty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array


@dataclass(frozen=True)
class Frontier:
    """Points that no null beats in both accuracy and novelty.

    Between two points, accuracy falls along the line that joins them, which is about what a
    null of intermediate strength achieves: a step function would reward the last thousandth
    of novelty. Beyond the most novel null the accuracy stays constant, to be on the safe
    side: nulls of higher novelty exist and are worse.

    Attributes
    ----------
    points : tuple of (novelty, accuracy, label)
        Points by rising novelty and falling accuracy.
    chance : float
        Accuracy of guessing.
    """

    points: tuple[tuple[float, float, str], ...]
    chance: float

    @classmethod
    def of(cls, points: Sequence[tuple[float, float, str]], chance: float) -> Frontier:
        """Return the frontier of nulls, each with its novelty, accuracy and label.

        Examples
        --------
        >>> frontier = Frontier.of([(0.1, 0.9, "a"), (0.2, 0.8, "b"), (0.1, 0.7, "c")], 0.1)
        >>> [label for _, _, label in frontier.points]
        ['a', 'b']
        >>> frontier.accuracy(np.array([0.15, 0.3])).round(3).tolist()
        [0.85, 0.8]
        >>> round(frontier.above(np.array([0.15, 0.3]), np.array([0.95, 0.8])), 3)
        0.05
        """
        frontier: list[tuple[float, float, str]] = []
        for point in sorted(points, key=lambda p: (-p[0], -p[1])):
            if point[1] > max(chance, frontier[-1][1] if frontier else chance):
                frontier.append(point)
        return cls(tuple(frontier[::-1]), chance)

    def accuracy(self, novelty: Array) -> Array:
        """Return the best accuracy (n,) of nulls at novelties (n,)."""
        if not self.points:
            return np.full(len(novelty), self.chance)
        x, y = zip(*((n, a) for n, a, _ in self.points), strict=True)
        best: Array = np.interp(novelty, x, y)
        return best

    def above(self, novelty: Array, accuracy: Array) -> float:
        """Return the mean accuracy of networks above the frontier; negative below it.

        Each network is compared at its own novelty: copies mixed with new but bad networks
        have the novelty of one half and the accuracy of the other, and gain nothing.
        """
        return float((accuracy - self.accuracy(novelty)).mean())
