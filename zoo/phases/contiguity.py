"""Whether labels form regions of the grid: neighbours that agree, against chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from zoo.phases.rule import UNMEASURED
from zoo.randomness import stream


@dataclass(frozen=True)
class Contiguity:
    """How labels lie on a grid.

    Attributes
    ----------
    share : float
        Pairs of neighbouring cells with one label, as a share of all pairs; NaN
        without a pair.
    shuffled : float
        Its mean where the same labels are dealt to the same cells at random.
    p : float
        Share of deals, this one included, that are at least as contiguous.
    pairs : int
        Pairs of neighbours.
    """

    share: float
    shuffled: float
    p: float
    pairs: int


def contiguity(
    load: Array, temperature: Array, labels: Array, *, seed: int, shuffles: int = 500
) -> Contiguity:
    """Compare neighbours on the grid with neighbours of shuffled labels.

    Parameters
    ----------
    load, temperature : ndarray of shape (c,)
        Position of each cell; neighbours are next to each other on one axis (among the
        values that occur) and equal on the other.
    labels : ndarray of str, shape (c,)
        Unmeasured cells are no neighbours.
    seed : int
        Of the shuffles.
    shuffles : int, default=500
        Number of deals.
    """
    known = (labels != UNMEASURED) & np.isfinite(load) & np.isfinite(temperature)
    across = np.unique(load[known], return_inverse=True)[1]
    up = np.unique(temperature[known], return_inverse=True)[1]
    place = {at: i for i, at in enumerate(zip(across.tolist(), up.tolist(), strict=True))}
    ends = [
        (i, place[other])
        for (x, y), i in place.items()
        for other in ((x + 1, y), (x, y + 1))
        if other in place
    ]
    if not ends:
        return Contiguity(np.nan, np.nan, np.nan, 0)
    one, two = np.array(ends).T
    kinds = np.unique(labels[known].astype(str), return_inverse=True)[1]
    share = float((kinds[one] == kinds[two]).mean())
    draw = stream(seed, "phase contiguity")
    deals = [draw.permutation(kinds) for _ in range(shuffles)]
    shares = np.array([(deal[one] == deal[two]).mean() for deal in deals])
    p = (1 + int((shares >= share).sum())) / (1 + shuffles)
    return Contiguity(share, float(shares.mean()), p, len(ends))
