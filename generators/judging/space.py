"""A space in which networks are near or far, with what is far among training networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from catalog import CatalogError
from catalog.dtypes import Array
from generators.judging.nearest import Others, nearest
from zoo import stream

MEASURED = 2048
"""Training networks, at most, whose distance to the nearest other is measured."""


@dataclass(frozen=True)
class Near:
    """Where n networks stand among training networks.

    Attributes
    ----------
    distance, second : ndarray of shape (n,)
        To the nearest and the second nearest training network (d1, d2).
    row, second_row : ndarray of shape (n,), int64
        Which these are.
    novelty : ndarray of shape (n,)
        The distance in units of the space's `Space.scale`.
    """

    distance: Array
    second: Array
    row: Array
    second_row: Array
    novelty: Array


@dataclass(frozen=True)
class Space:
    """Training networks as vectors.

    Attributes
    ----------
    name : str
    train : ndarray of shape (n, k), float32
    own : ndarray of shape (min(n, MEASURED),)
        From training networks, drawn if there are more, to the nearest of another run.
    scale : float
        Their median: novelty 1.
    """

    name: str
    train: Array
    own: Array
    scale: float

    @classmethod
    def of(cls, name: str, train: Array, runs: Array) -> Space:
        """Measure how far training networks are from each other.

        Parameters
        ----------
        runs : ndarray of shape (n,)
            Integers; networks of one run do not count as neighbours.

        Raises
        ------
        CatalogError
            If half of the training networks have a copy among the others.
        """
        own = other_runs(train, runs).distance
        return cls(name, train, own, unit_of(name, own))

    def measured_as(self, name: str, own: Array) -> Space:
        """The same networks, which are so far apart (m,) in another measure."""
        found = Space(name, self.train, own, unit_of(name, own))
        vars(found)["_others"] = self._others  # as large as the networks
        return found

    @cached_property
    def _others(self) -> Others:
        return Others(self.train)

    def summary(self) -> dict[str, float]:
        """Distances between training networks, of which the median is novelty 1."""
        marks = np.quantile(self.own, (0.05, 0.5, 0.95))
        names = ("p05", "median", "p95")
        return {name: float(v) for name, v in zip(names, marks, strict=True)}

    def near(self, points: Array, unit: float | None = None) -> Near:
        """Where networks (m, k) stand.

        Parameters
        ----------
        unit : float, optional
            Distance that counts as novelty 1; default the scale.
        """
        distances, rows = nearest(points, self._others)
        first = distances[:, 0]
        novelty = first / (unit or self.scale)
        return Near(first, distances[:, 1], rows[:, 0], rows[:, 1], novelty)


def measured_rows(count: int) -> Array:
    """Rows of training networks by which it is measured how far they are apart."""
    rows = np.arange(count)
    if count > MEASURED:
        rows = np.sort(stream(0, "space").choice(rows, MEASURED, replace=False))
    return rows


def other_runs(train: Array, runs: Array) -> Near:
    """Where `measured_rows` of training networks stand among those of other runs."""
    some = measured_rows(len(train))
    distance, row = nearest(train[some], train, runs=runs[some], other_runs=runs)
    # Where there is no second one its row is any, perhaps its own.
    second = np.where(np.isfinite(distance[:, 1]), row[:, 1], row[:, 0])
    return Near(distance[:, 0], distance[:, 1], row[:, 0], second, distance[:, 0])


def unit_of(name: str, own: Array) -> float:
    """The distance that is novelty 1: the median among training networks.

    Raises
    ------
    CatalogError
        If half of them have a copy among the others.
    """
    scale = float(np.median(own))
    if not 0 < scale < np.inf:
        raise CatalogError(
            f"Novelty in the {name} space cannot be told: the median distance from a "
            f"training network to the nearest of another run is {scale:g}. Load at "
            "least two runs that differ."
        )
    return scale
