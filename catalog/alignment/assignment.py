"""Linear assignment of units to places, for many networks at once."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array

_SOFTNESS, _FLOOR = 0.05, -20.0
"""Temperature of the softened problem that gives prices, as a multiple of the mean distance
of a vote from the highest vote for its unit, and the lower bound of the exponents."""
_ROUNDS, _LARGE = 8, 64
"""Rounds of Sinkhorn scaling, and the size from which twice as many rounds pay off."""


def assign(votes: Array) -> Array:
    """Return the permutations (n, size) that collect the most votes.

    If every place has a different favourite unit, the favourites are the best assignment
    and no linear assignment problem is solved. This is the common case for networks that
    match.

    Parameters
    ----------
    votes : ndarray of shape (n, size, size)
        Entry (i, j) is the score of unit j in place i; all entries must be finite.

    Examples
    --------
    >>> assign(np.array([[[1.0, 3.0], [0.0, 4.0]]]))
    array([[0, 1]])
    """
    n, size = votes.shape[:2]
    if not votes.size:
        return np.zeros((n, size), np.int64)
    # The favourites of a few places rule out most matrices that need a search.
    candidates = np.flatnonzero(_distinct(votes[:, : max(1, size // 4)].argmax(2)))
    permutations = np.empty((n, size), np.int64)
    permutations[candidates] = (
        votes if len(candidates) == n else votes[candidates]
    ).argmax(2)
    solved = np.zeros(n, bool)
    solved[candidates] = _distinct(permutations[candidates])
    contested = np.flatnonzero(~solved)
    if len(contested):
        from scipy.optimize import linear_sum_assignment  # slow to import

        remaining = votes if len(contested) == n else votes[contested]
        cost = np.subtract(_prices(remaining), remaining, dtype=np.float64)
        for i, row in zip(contested.tolist(), cost, strict=True):
            permutations[i] = linear_sum_assignment(row)[1]
    return permutations


def _distinct(favourites: Array) -> Array:
    """Check per matrix that the favourites (n, k) of its k places are distinct."""
    ordered = np.sort(favourites, axis=1)
    distinct: Array = (ordered[:, 1:] != ordered[:, :-1]).all(1)
    return distinct


def _prices(votes: Array) -> Array:
    """Approximate dual prices (n, 1, size) of the units.

    Subtracting any prices from the votes leaves the best assignment unchanged. The prices
    of a softened problem (entropic transport, a few rounds of Sinkhorn scaling) leave the
    search little to do: it takes a fifth less time for 32 units, half for 768.
    """
    n, size = votes.shape[:2]
    top = votes.max(1, keepdims=True)
    weights = votes - top
    scale = -_SOFTNESS * weights.mean((1, 2), keepdims=True)
    constant = ~(scale > 0)
    scale[constant] = 1
    weights /= scale
    np.exp(np.maximum(weights, _FLOOR, out=weights), out=weights)
    mass = np.ones((n, size, 1), votes.dtype)
    for _ in range(_ROUNDS if size < _LARGE else 2 * _ROUNDS):
        places = 1 / (weights @ mass)
        mass = 1 / (weights.transpose(0, 2, 1) @ places)
    prices: Array = top - scale * np.log(mass.transpose(0, 2, 1))
    return np.where(np.isfinite(prices) & ~constant, prices, top)


def collected(votes: Array, permutation: Array) -> Array:
    """Return the votes (n, size) that the units of permutations (n, size) collect."""
    chosen = np.take_along_axis(votes, permutation[:, :, None], axis=2)
    unit_votes: Array = chosen[:, :, 0].astype(np.float64)
    return unit_votes
