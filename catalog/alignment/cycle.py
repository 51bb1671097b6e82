"""Cycle-consistent matching of all networks to a common universe of units.

Every network gets an order of its units with respect to the universe, so that the
permutations between pairs of networks, composed by way of the universe, agree along any
cycle. The objective is the sum over pairs of the inner products of the reordered networks,
as in [1]_. It is maximised by Frank-Wolfe iteration over doubly stochastic matrices: a step
solves a linear assignment per network and symbol, and its length comes from a line search.
Permutation synchronisation would start from matchings of all n (n - 1) / 2 pairs; this
method costs n assignments per step.

References
----------
.. [1] Crisostomi et al., 2024, arXiv:2405.17897. Differences here: the line search is
   exact (the objective is a polynomial of the step), and the start is a softened matching
   to one network from the input side instead of the order of the files.
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
"""Share of the uniform mean of all orders in the start."""
_ENOUGH = 1e-4
"""Relative rise of the objective below which a step is idle; two in a row are the end."""


def universe(
    weights: Array,
    layout: Layout,
    start: Mapping[str, Array],
    *,
    steps: int = STEPS,
    softened: float = SOFTENED,
) -> dict[str, Array]:
    """Compute cycle-consistent orders (n, size) of the units of every symbol.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
        All networks. The computation holds several times their memory.
    layout : Layout
        Layout of the networks.
    start : mapping of str to ndarray of shape (n, size)
        Initial order of the units of every symbol.
    steps : int, default=100
        Maximum number of Frank-Wolfe steps.
    softened : float, default=0.5
        Share of the uniform mean of all orders in the start.

    Returns
    -------
    dict of str to ndarray of shape (n, size)
        Permutations by symbol. Symbols that no parameter carries keep their start.
    """
    climb = _Climb(weights, layout)
    soft_orders = {}
    for key, size in layout.symbols.items():
        one_hot = np.zeros((len(weights), size, size), np.float32)
        np.put_along_axis(one_hot, np.asarray(start[key])[:, :, None], 1, axis=2)
        soft_orders[key] = (1 - softened) * one_hot + softened * climb.centre(key)
    value, idle_steps = climb.value(soft_orders), 0
    for _ in range(steps):
        vertex = climb.vertex(soft_orders)
        step, new_value = climb.line_search(soft_orders, vertex)
        soft_orders = {
            k: p + np.float32(step) * (vertex[k] - p) for k, p in soft_orders.items()
        }
        idle_steps = idle_steps + 1 if new_value - value <= _ENOUGH * abs(value) else 0
        value = new_value
        if idle_steps == 2:
            break
    unmoved = {key: np.asarray(order) for key, order in start.items()}
    return unmoved | climb.rounded(soft_orders)


class _Climb:
    """Objective of the matching, its gradient, and its vertices."""

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
        most_axes = max(sum(a is not None for a in axes) for axes in self.axes.values())
        self.nodes = np.linspace(0, 1, 2 * most_axes + 1)

    def centre(self, key: str) -> Array:
        """Return the mean of all permutation matrices of a symbol."""
        size = self.layout.symbols[key]
        return np.full((size, size), 1 / max(size, 1), np.float32)

    def moved(self, name: str, soft: Mapping[str, Array], but: int = -1) -> Array:
        """Return a tensor of every network, its axes except ``but`` softly reordered."""
        values = self.tensors[name]
        n, shape = len(values), values.shape
        for axis, key_and_block in enumerate(self.axes[name]):
            if key_and_block is not None and axis != but:
                key, block = key_and_block
                leading = int(np.prod(shape[1 : axis + 1]))
                split = values.reshape(n, leading, shape[axis + 1] // block, -1)
                values = (soft[key][:, None] @ split).reshape(shape)
        return values

    def value(self, soft: Mapping[str, Array]) -> float:
        """Return the sum of the inner products of all pairs, each pair counted twice."""
        total = 0.0
        for name in self.tensors:
            moved = self.moved(name, soft)
            total += float((moved.sum(0, dtype=np.float64) ** 2).sum())
            total -= float((moved**2).sum(dtype=np.float64))
        return total

    def vertex(self, soft: Mapping[str, Array]) -> dict[str, Array]:
        """Return the permutation matrices that maximise the linearised objective."""
        orders: dict[str, Array] = {}
        for group in self.groups:
            votes = {key: self._votes(key, soft) for key in group.keys}
            orders |= self._solved(group, votes)
        matrices = dict(soft)  # symbols without votes keep their matrices
        for key, order in orders.items():
            matrices[key] = np.zeros_like(soft[key])
            np.put_along_axis(matrices[key], order[:, :, None], 1, axis=2)
        return matrices

    def rounded(self, soft: Mapping[str, Array]) -> dict[str, Array]:
        """Round soft orders to the closest permutations."""
        orders: dict[str, Array] = {}
        for group in self.groups:
            orders |= self._solved(group, {key: soft[key] for key in group.keys})
        return orders

    def line_search(
        self, soft: Mapping[str, Array], vertex: Mapping[str, Array]
    ) -> tuple[float, float]:
        """Return the step in [0, 1] that maximises the objective, and the maximum."""
        values = [
            self.value({k: p + np.float32(t) * (vertex[k] - p) for k, p in soft.items()})
            for t in self.nodes
        ]
        curve = np.polynomial.Polynomial.fit(
            self.nodes, values, len(self.nodes) - 1, domain=[0, 1], window=[0, 1]
        )
        critical = [complex(root) for root in curve.deriv().roots()]
        interior = [t.real for t in critical if abs(t.imag) < 1e-9 and 0 < t.real < 1]
        candidates = [0.0, 1.0, *interior]
        best = max(candidates, key=curve)
        return float(best), float(curve(best))

    def _solved(self, group: Group, votes: Mapping[str, Array | None]) -> dict[str, Array]:
        if group.inner:
            inner = {key: votes[key] for key in group.inner}
            return nested(group.name, group.size, group.block, inner, votes[group.name])
        group_votes = votes[group.name]
        if group_votes is None:
            raise AssertionError(group.name)
        return {group.name: assign(group_votes)}

    def _votes(self, key: str, soft: Mapping[str, Array]) -> Array | None:
        """Return the gradient (n, size, size) with respect to the matrix of a symbol."""
        total: Array | None = None
        for ballot in (*self.ballots.fixed[key], *self.ballots.bound[key]):
            name = ballot.param.name
            all_columns = slice(None)
            moved = self.moved(name, soft)
            others_sum = moved.sum(0) - moved  # sum over the other networks
            n = len(moved)
            others_laid = ballot.lay_out(others_sum.reshape(n, -1), all_columns)
            network_laid = self.moved(name, soft, ballot.axis).reshape(n, -1)
            votes = others_laid.transpose(0, 2, 1) @ ballot.lay_out(
                network_laid, all_columns
            )
            total = votes if total is None else total + votes
        return total
