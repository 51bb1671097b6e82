"""The best accuracy that nulls reach at each novelty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array


@dataclass(frozen=True)
class Frontier:
    """Points that no null beats in both accuracy and novelty.

    Between two of them accuracy falls along the line that joins them, which is what a null
    of a strength in between does about: a step would reward the last thousandth of novelty.
    Beyond the most novel null it stays, to be on the safe side: nulls get more novel still,
    and worse.

    Attributes
    ----------
    points : tuple of (novelty, accuracy, label)
        By rising novelty and falling accuracy.
    chance : float
        Accuracy of guessing.
    """

    points: tuple[tuple[float, float, str], ...]
    chance: float

    @classmethod
    def of(cls, points: Sequence[tuple[float, float, str]], chance: float) -> Frontier:
        """The frontier of nulls, each with its novelty, accuracy and label.

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
        kept: list[tuple[float, float, str]] = []
        for point in sorted(points, key=lambda p: (-p[0], -p[1])):
            if point[1] > max(chance, kept[-1][1] if kept else chance):
                kept.append(point)
        return cls(tuple(kept[::-1]), chance)

    def accuracy(self, novelty: Array) -> Array:
        """Best accuracy (n,) of nulls at novelties (n,)."""
        if not self.points:
            return np.full(len(novelty), self.chance)
        x, y = zip(*((n, a) for n, a, _ in self.points), strict=True)
        found: Array = np.interp(novelty, x, y)
        return found

    def above(self, novelty: Array, accuracy: Array) -> float:
        """By how much networks are above the frontier in the mean; negative below it.

        Each is compared at its own novelty: copies mixed with new and bad networks are as
        novel as the one half and as accurate as the other, and gain nothing.
        """
        return float((accuracy - self.accuracy(novelty)).mean())
