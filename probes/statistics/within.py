"""Features compared within groups of networks, such as zoos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from probes.statistics.shaping import Shaping


@dataclass(frozen=True)
class Within:
    """A `Shaping` for each group, as its training rows say.

    What is left of a feature is how a row differs from the training rows of its group.
    Rows of a group that had none are compared with one another: that uses no target, but
    what is said of one of them depends on the others.

    Attributes
    ----------
    shape : str
        See `Shaping.of`.
    groups : ndarray of shape (g,)
        Numbers of the groups of training, sorted.
    shapings : tuple of Shaping
        Of these.
    """

    shape: str
    groups: Array
    shapings: tuple[Shaping, ...]

    @classmethod
    def of(cls, F: Array, groups: Array, shape: str) -> Within:
        """Learn it from training features (n, p) and the group (n,) of each row.

        Raises
        ------
        ValueError
            If there is no such shape.
        """
        known = np.unique(groups)
        shapings = tuple(Shaping.of(F[groups == group], shape) for group in known)
        return cls(shape, known, shapings)

    def apply(self, F: Array, groups: Array) -> Array:
        """Shaped features (n, p) of rows of any groups (n,)."""
        found = np.empty(F.shape)
        known = dict(zip(self.groups.tolist(), self.shapings, strict=True))
        for group in np.unique(groups).tolist():
            own = groups == group
            shaping = known.get(group) or Shaping.of(F[own], self.shape)
            found[own] = shaping.apply(F[own])
        return found


def numbered(F: Array, names: Sequence[str], known: Sequence[str]) -> Array:
    """Features (n, 1 + p) after the number of the group of each row.

    Parameters
    ----------
    F : ndarray of shape (n, p)
    names : sequence of str
        Group of each row.
    known : sequence of str
        Groups 0, 1, ...; others get the numbers after these.

    Examples
    --------
    >>> numbered(np.array([[0.5], [1.5]]), ["new", "b"], ["a", "b"]).tolist()
    [[2.0, 0.5], [1.0, 1.5]]
    """
    every = [*known, *sorted(set(names) - set(known))]
    place = {name: i for i, name in enumerate(every)}
    return np.column_stack([[place[name] for name in names], F])
