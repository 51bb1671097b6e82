"""Cycle-consistent matching: all networks to a universe of their own, none to one of them.

Every network gets an order of its units, so that orders between two networks, by way of
the universe, agree along any cycle. Maximised is the sum over pairs of inner products of
the reordered networks, as in [1]_: by Frank-Wolfe over doubly stochastic matrices, where a
step solves a linear assignment per network and symbol, and goes as far as the objective
rises. Permutation synchronisation would start from matchings of all n (n - 1) / 2 pairs;
this costs n assignments a step.

References
----------
.. [1] Crisostomi et al., 2024, arXiv:2405.17897. Differs: the line search is exact (the
   objective is a polynomial of the step), the start is a matching to one network from the
   input side, softened, instead of the order of the files.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from catalog.alignment.assignment import assign
from catalog.alignment.groups import Group, groups_of
from catalog.alignment.heads import nested
from catalog.alignment.permutation import axis_key
from catalog.alignment.votes import Ballots
from catalog.dtypes import Array
from catalog.layout import Layout

STEPS = 100
SOFTENED = 0.5
"""Share of the start that is uniform over all orders."""
_ENOUGH = 1e-4
"""Relative rise of the objective below which a step counts as none; two end the climb."""


def universe(
    weights: Array,
    layout: Layout,
    start: Mapping[str, Array],
    *,
    steps: int = STEPS,
    softened: float = SOFTENED,
) -> dict[str, Array]:
    """Orders (n, size) of every symbol, cycle-consistent.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
        All networks and several times their memory are held.
    start : mapping of str to ndarray of shape (n, size)
        Of every symbol.
    """
    climb = _Climb(weights, layout)
    soft = {}
    for key, size in layout.symbols.items():
        hard = np.zeros((len(weights), size, size), np.float32)
        np.put_along_axis(hard, np.asarray(start[key])[:, :, None], 1, axis=2)
        soft[key] = (1 - softened) * hard + softened * climb.centre(key)
    value, idle = climb.value(soft), 0
    for _ in range(steps):
        vertex = climb.vertex(soft)
        step, reached = climb.line_search(soft, vertex)
        soft = {k: p + np.float32(step) * (vertex[k] - p) for k, p in soft.items()}
        idle = idle + 1 if reached - value <= _ENOUGH * abs(value) else 0
        value = reached
        if idle == 2:
            break
    unmoved = {key: np.asarray(order) for key, order in start.items()}
    return unmoved | climb.rounded(soft)


class _Climb:
    """The objective, its gradient and its vertices."""

    def __init__(self, weights: Array, layout: Layout) -> None:
        self.layout, self.ballots = layout, Ballots.of(layout)
        self.groups = groups_of(self.ballots)
        named = layout.unflatten(np.asarray(weights, np.float32))
        self.tensors = {
            param.name: named[param.name]
            for param in layout
            if param.role == "parameter" and param.size and any(param.axes)
        }
        self.axes = {
            name: [axis_key(s) if s else None for s in layout[name].axes]
            for name in self.tensors
        }
        most = max(sum(a is not None for a in axes) for axes in self.axes.values())
        self.nodes = np.linspace(0, 1, 2 * most + 1)

    def centre(self, key: str) -> Array:
        """The mean of all orders of a symbol."""
        size = self.layout.symbols[key]
        return np.full((size, size), 1 / max(size, 1), np.float32)

    def moved(self, name: str, soft: Mapping[str, Array], but: int = -1) -> Array:
        """A tensor of every network, its axes reordered softly, save one."""
        values = self.tensors[name]
        n, shape = len(values), values.shape
        for axis, found in enumerate(self.axes[name]):
            if found is not None and axis != but:
                key, block = found
                lead = int(np.prod(shape[1 : axis + 1]))
                split = values.reshape(n, lead, shape[axis + 1] // block, -1)
                values = (soft[key][:, None] @ split).reshape(shape)
        return values

    def value(self, soft: Mapping[str, Array]) -> float:
        """Sum of the inner products of all pairs, each twice."""
        total = 0.0
        for name in self.tensors:
            moved = self.moved(name, soft)
            total += float((moved.sum(0, dtype=np.float64) ** 2).sum())
            total -= float((moved**2).sum(dtype=np.float64))
        return total

    def vertex(self, soft: Mapping[str, Array]) -> dict[str, Array]:
        """The orders that rise most, as permutation matrices."""
        found: dict[str, Array] = {}
        for group in self.groups:
            votes = {key: self._votes(key, soft) for key in group.keys}
            found |= self._solved(group, votes)
        matrices = dict(soft)  # what no parameter votes for stays
        for key, order in found.items():
            matrices[key] = np.zeros_like(soft[key])
            np.put_along_axis(matrices[key], order[:, :, None], 1, axis=2)
        return matrices

    def rounded(self, soft: Mapping[str, Array]) -> dict[str, Array]:
        """The orders closest to soft ones."""
        found: dict[str, Array] = {}
        for group in self.groups:
            found |= self._solved(group, {key: soft[key] for key in group.keys})
        return found

    def line_search(
        self, soft: Mapping[str, Array], vertex: Mapping[str, Array]
    ) -> tuple[float, float]:
        """The step in [0, 1] with the greatest value, and that value."""
        values = [
            self.value({k: p + np.float32(t) * (vertex[k] - p) for k, p in soft.items()})
            for t in self.nodes
        ]
        curve = np.polynomial.Polynomial.fit(
            self.nodes, values, len(self.nodes) - 1, domain=[0, 1], window=[0, 1]
        )
        turns = [complex(turn) for turn in curve.deriv().roots()]
        within = [t.real for t in turns if abs(t.imag) < 1e-9 and 0 < t.real < 1]
        tried = [0.0, 1.0, *within]
        best = max(tried, key=curve)
        return float(best), float(curve(best))

    def _solved(self, group: Group, votes: Mapping[str, Array | None]) -> dict[str, Array]:
        if group.inner:
            inner = {key: votes[key] for key in group.inner}
            return nested(group.name, group.size, group.block, inner, votes[group.name])
        own = votes[group.name]
        if own is None:
            raise AssertionError(group.name)
        return {group.name: assign(own)}

    def _votes(self, key: str, soft: Mapping[str, Array]) -> Array | None:
        """Gradient (n, size, size) for the matrix of a symbol."""
        total: Array | None = None
        for ballot in (*self.ballots.fixed[key], *self.ballots.bound[key]):
            name = ballot.param.name
            every = slice(None)
            moved = self.moved(name, soft)
            rest = moved.sum(0) - moved  # of the other networks
            n = len(moved)
            ours = ballot.lay_out(rest.reshape(n, -1), every)
            theirs = self.moved(name, soft, ballot.axis).reshape(n, -1)
            votes = ours.transpose(0, 2, 1) @ ballot.lay_out(theirs, every)
            total = votes if total is None else total + votes
        return total
