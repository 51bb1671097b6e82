"""Scaling of features within groups of networks, such as zoos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from probes.statistics.shaping import Shaping


@dataclass(frozen=True)
class Within:
    """One `Shaping` for each group, fitted to its training rows.

    A scaled feature tells how a row differs from the training rows of its group. Rows of a
    group without training rows are compared with one another: this uses no target, but the
    prediction for one row depends on the others.

    Attributes
    ----------
    shape : str
        See `Shaping.of`.
    groups : ndarray of shape (g,)
        Sorted numbers of the training groups.
    shapings : tuple of Shaping
        Scaling of each group.
    """

    shape: str
    groups: Array
    shapings: tuple[Shaping, ...]

    @classmethod
    def of(cls, F: Array, groups: Array, shape: str) -> Within:
        """Fit the scaling to training features (n, p) and the group (n,) of each row.

        Raises
        ------
        ValueError
            If there is no such shape.
        """
        known = np.unique(groups)
        shapings = tuple(Shaping.of(F[groups == group], shape) for group in known)
        return cls(shape, known, shapings)

    def apply(self, F: Array, groups: Array) -> Array:
        """Scale features (n, p) of rows of any groups (n,)."""
        scaled = np.empty(F.shape)
        shaping_of = dict(zip(self.groups.tolist(), self.shapings, strict=True))
        for group in np.unique(groups).tolist():
            in_group = groups == group
            shaping = shaping_of.get(group) or Shaping.of(F[in_group], self.shape)
            scaled[in_group] = shaping.apply(F[in_group])
        return scaled


def numbered(F: Array, names: Sequence[str], known: Sequence[str]) -> Array:
    """Return features (n, 1 + p) with the number of each row's group in front.

    Parameters
    ----------
    F : ndarray of shape (n, p)
        Features of n networks.
    names : sequence of str
        Group of each row.
    known : sequence of str
        Names of groups 0, 1, ...; other groups get the following numbers.

    Examples
    --------
    >>> numbered(np.array([[0.5], [1.5]]), ["new", "b"], ["a", "b"]).tolist()
    [[2.0, 0.5], [1.0, 1.5]]
    """
    all_names = [*known, *sorted(set(names) - set(known))]
    number_of = {name: i for i, name in enumerate(all_names)}
    return np.column_stack([[number_of[name] for name in names], F])
