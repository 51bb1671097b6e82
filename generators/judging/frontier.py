"""The best accuracy that nulls reach at each novelty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frontier:
    """Points that no null beats in both accuracy and novelty.

    Between two of them accuracy falls along the line that joins them, which is what a null
    of a strength in between does about: a step would reward the last thousandth of novelty.
    Beyond the most novel null it is chance, which a network with random weights reaches at
    any novelty.

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
        >>> round(frontier.accuracy(0.15), 3), frontier.accuracy(0.3)
        (0.85, 0.1)
        >>> round(frontier.above(0.15, 0.95), 3)
        0.1
        """
        kept: list[tuple[float, float, str]] = []
        for point in sorted(points, key=lambda p: (-p[0], -p[1])):
            if point[1] > max(chance, kept[-1][1] if kept else chance):
                kept.append(point)
        return cls(tuple(kept[::-1]), chance)

    def accuracy(self, novelty: float) -> float:
        """Best accuracy of nulls at a novelty."""
        if not self.points or novelty > self.points[-1][0]:
            return self.chance
        x, y = zip(*((n, a) for n, a, _ in self.points), strict=True)
        return float(np.interp(novelty, x, y))

    def above(self, novelty: float, accuracy: float) -> float:
        """By how much accuracy is above the frontier; negative below it."""
        return accuracy - self.accuracy(novelty)
