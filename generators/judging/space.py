"""Spaces in which the novelty of networks is measured against training networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from catalog import CatalogError
from catalog.dtypes import Array
from generators.judging.nearest import Others, nearest
from zoo import stream

MEASURED = 2048
"""Maximum number of training networks whose distance to the nearest other is measured."""


@dataclass(frozen=True)
class Near:
    """Distances of n networks to their nearest training networks.

    Attributes
    ----------
    distance, second : ndarray of shape (n,)
        Distance to the nearest and the second nearest training network (d1, d2).
    row, second_row : ndarray of shape (n,), int64
        Rows of these training networks.
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
    """Training networks as vectors, with their distances to each other.

    Attributes
    ----------
    name : str
        Name of the space.
    train : ndarray of shape (n, k), float32
        Vectors of the training networks.
    own : ndarray of shape (min(n, MEASURED),)
        Distances from training networks, a random draw if there are more, to the nearest of
        another run.
    scale : float
        Median of these distances: novelty 1.
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
        name : str
            Name of the space.
        train : ndarray of shape (n, k)
            Vectors of the training networks.
        runs : ndarray of shape (n,)
            Integers; networks of one run do not count as neighbours.

        Raises
        ------
        CatalogError
            If half of the training networks have a copy among the others.
        """
        distances = other_runs(train, runs).distance
        return cls(name, train, distances, unit_of(name, distances))

    def measured_as(self, name: str, own: Array) -> Space:
        """Return a space of the same networks with distances (m,) of another measure."""
        space = Space(name, self.train, own, unit_of(name, own))
        vars(space)["_others"] = self._others  # shared, as it is as large as the networks
        return space

    @cached_property
    def _others(self) -> Others:
        return Others(self.train)

    def summary(self) -> dict[str, float]:
        """Return quantiles of distances between training networks (median: novelty 1)."""
        marks = np.quantile(self.own, (0.05, 0.5, 0.95))
        names = ("p05", "median", "p95")
        return {name: float(v) for name, v in zip(names, marks, strict=True)}

    def near(self, points: Array, unit: float | None = None) -> Near:
        """Return the nearest training networks of networks (m, k).

        Parameters
        ----------
        points : ndarray of shape (m, k)
            Vectors of m networks.
        unit : float, optional
            Distance that counts as novelty 1; default the scale.
        """
        distances, rows = nearest(points, self._others)
        first = distances[:, 0]
        novelty = first / (unit or self.scale)
        return Near(first, distances[:, 1], rows[:, 0], rows[:, 1], novelty)


def measured_rows(count: int) -> Array:
    """Return the rows of training networks whose distances to others are measured."""
    rows = np.arange(count)
    if count > MEASURED:
        rows = np.sort(stream(0, "space").choice(rows, MEASURED, replace=False))
    return rows


def other_runs(train: Array, runs: Array) -> Near:
    """Return the nearest of other runs for `measured_rows` of training networks."""
    measured = measured_rows(len(train))
    distance, row = nearest(train[measured], train, runs=runs[measured], other_runs=runs)
    # Without a second network its row is arbitrary, and may be the network itself.
    second = np.where(np.isfinite(distance[:, 1]), row[:, 1], row[:, 0])
    return Near(distance[:, 0], distance[:, 1], row[:, 0], second, distance[:, 0])


def unit_of(name: str, own: Array) -> float:
    """Return the distance that is novelty 1: the median among training networks.

    Raises
    ------
    CatalogError
        If half of the training networks have a copy among the others.
    """
    scale = float(np.median(own))
    if not 0 < scale < np.inf:
        raise CatalogError(
            f"Novelty in the {name} space is undefined: the median distance from a "
            f"training network to the nearest of another run is {scale:g}. Load at "
            "least two runs that differ."
        )
    return scale


def nearest_rows(near: Sequence[Near]) -> tuple[Array, Array]:
    """Return rows and d1 / d2 (n,) in the space where each network is nearest."""
    novelty = np.stack([space_near.novelty for space_near in near])
    columns, best = np.arange(novelty.shape[1]), novelty.argmin(0)
    first, second, rows = (
        np.stack([getattr(space_near, name) for space_near in near])[best, columns]
        for name in ("distance", "second", "row")
    )
    # Two training networks at distance 0 are equally near: the ratio is 1.
    ratio = np.divide(first, second, out=np.ones(len(columns)), where=second > 0)
    return rows, ratio
