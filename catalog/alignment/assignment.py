"""The best assignment of units to places, for many networks."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array


def assign(votes: Array) -> Array:
    """Permutations (n, size) that collect the most votes.

    Where every place has another favourite, or every unit another place, the favourites
    are the best assignment: near convergence that is the common case, and no linear
    assignment is solved.

    Parameters
    ----------
    votes : ndarray of shape (n, size, size)
        Entry (i, j) speaks for unit j in place i; finite.

    Examples
    --------
    >>> assign(np.array([[[1.0, 3.0], [0.0, 4.0]]]))
    array([[0, 1]])
    """
    if not votes.size:
        return np.zeros(votes.shape[:2], np.int64)
    found: Array = votes.argmax(2)
    open_ = np.flatnonzero(~_is_permutation(found))
    if len(open_):
        places = votes[open_].argmax(1)
        fair = _is_permutation(places)
        found[open_[fair]] = np.argsort(places[fair], axis=1)
        open_ = open_[~fair]
    if len(open_):
        from scipy.optimize import linear_sum_assignment  # slow to import

        cost = np.negative(votes[open_], dtype=np.float64)
        for i, row in zip(open_, cost, strict=True):
            found[i] = linear_sum_assignment(row)[1]
    return found


def collected(votes: Array, permutation: Array) -> Array:
    """Votes (n,) that permutations (n, size) collect."""
    taken = np.take_along_axis(votes, permutation[:, :, None], axis=2)
    total: Array = taken.sum((1, 2), dtype=np.float64)
    return total


def _is_permutation(numbers: Array) -> Array:
    same: Array = (np.sort(numbers, axis=1) == np.arange(numbers.shape[1])).all(1)
    return same
