"""The best assignment of units to places, for many networks."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array

_SOFTNESS, _FLOOR = 0.05, -20.0
"""Of prices: temperature, in the mean distance of votes from the highest for their unit,
and the least exponent."""
_ROUNDS, _LARGE = 8, 64
"""Rounds of scaling; from this size on twice as many pay."""


def assign(votes: Array) -> Array:
    """Permutations (n, size) that collect the most votes.

    Where every place has another favourite, the favourites are the best assignment and no
    linear assignment is solved: the common case where something is to be found.

    Parameters
    ----------
    votes : ndarray of shape (n, size, size)
        Entry (i, j) speaks for unit j in place i; finite.

    Examples
    --------
    >>> assign(np.array([[[1.0, 3.0], [0.0, 4.0]]]))
    array([[0, 1]])
    """
    n, size = votes.shape[:2]
    if not votes.size:
        return np.zeros((n, size), np.int64)
    # A few favourites tell most matrices that need a search.
    hopeful = np.flatnonzero(_distinct(votes[:, : max(1, size // 4)].argmax(2)))
    found = np.empty((n, size), np.int64)
    found[hopeful] = (votes if len(hopeful) == n else votes[hopeful]).argmax(2)
    fair = np.zeros(n, bool)
    fair[hopeful] = _distinct(found[hopeful])
    contested = np.flatnonzero(~fair)
    if len(contested):
        from scipy.optimize import linear_sum_assignment  # slow to import

        some = votes if len(contested) == n else votes[contested]
        cost = np.subtract(_prices(some), some, dtype=np.float64)
        for i, row in zip(contested.tolist(), cost, strict=True):
            found[i] = linear_sum_assignment(row)[1]
    return found


def _distinct(favourites: Array) -> Array:
    """Whether the places (n, k) of a matrix have k favourites."""
    ordered = np.sort(favourites, axis=1)
    distinct: Array = (ordered[:, 1:] != ordered[:, :-1]).all(1)
    return distinct


def _prices(votes: Array) -> Array:
    """What each unit is worth (n, 1, size), about: less that, all places look alike.

    Whatever the prices, the best assignment stays the best. With those of a softened
    problem (entropic transport, a few rounds of Sinkhorn's scaling) the search has little
    left to do: a fifth less time for 32 units, half for 768.
    """
    n, size = votes.shape[:2]
    top = votes.max(1, keepdims=True)
    weights = votes - top
    scale = -_SOFTNESS * weights.mean((1, 2), keepdims=True)
    flat = ~(scale > 0)
    scale[flat] = 1
    weights /= scale
    np.exp(np.maximum(weights, _FLOOR, out=weights), out=weights)
    mass = np.ones((n, size, 1), votes.dtype)
    for _ in range(_ROUNDS if size < _LARGE else 2 * _ROUNDS):
        places = 1 / (weights @ mass)
        mass = 1 / (weights.transpose(0, 2, 1) @ places)
    prices: Array = top - scale * np.log(mass.transpose(0, 2, 1))
    return np.where(np.isfinite(prices) & ~flat, prices, top)


def collected(votes: Array, permutation: Array) -> Array:
    """Votes (n, size) that the units of permutations (n, size) collect."""
    taken = np.take_along_axis(votes, permutation[:, :, None], axis=2)
    units: Array = taken[:, :, 0].astype(np.float64)
    return units
