"""Contiguity of labels on the grid: agreement of neighbouring cells against chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from zoo.phases.rule import UNMEASURED
from zoo.randomness import stream


@dataclass(frozen=True)
class Contiguity:
    """Contiguity of labels on a grid, compared with random permutations of the labels.

    Attributes
    ----------
    share : float
        Share of the pairs of neighbouring cells whose labels are equal; NaN if there is
        no pair.
    shuffled : float
        Mean of this share over random permutations of the labels among the same cells.
    p : float
        Share of permutations, the observed labels included, that are at least as
        contiguous.
    pairs : int
        Number of pairs of neighbours.
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
        Label of each cell; unmeasured cells are ignored.
    seed : int
        Seed of the permutations.
    shuffles : int, default=500
        Number of permutations.
    """
    known = (labels != UNMEASURED) & np.isfinite(load) & np.isfinite(temperature)
    xs = np.unique(load[known], return_inverse=True)[1].tolist()
    ys = np.unique(temperature[known], return_inverse=True)[1].tolist()
    cell_at = {position: i for i, position in enumerate(zip(xs, ys, strict=True))}
    neighbours = [
        (i, cell_at[neighbour])
        for (x, y), i in cell_at.items()
        for neighbour in ((x + 1, y), (x, y + 1))
        if neighbour in cell_at
    ]
    if not neighbours:
        return Contiguity(np.nan, np.nan, np.nan, 0)
    first, second = np.array(neighbours).T
    codes = np.unique(labels[known].astype(str), return_inverse=True)[1]
    share = float((codes[first] == codes[second]).mean())
    generator = stream(seed, "phase contiguity")
    permutations = [generator.permutation(codes) for _ in range(shuffles)]
    shares = np.array(
        [(permuted[first] == permuted[second]).mean() for permuted in permutations]
    )
    p = (1 + int((shares >= share).sum())) / (1 + shuffles)
    return Contiguity(share, float(shares.mean()), p, len(neighbours))
