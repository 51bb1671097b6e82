"""Coordinate descent over symbols, with one linear assignment per symbol and round."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from catalog.alignment.assignment import assign, collected
from catalog.alignment.groups import Group
from catalog.alignment.heads import by_products, nested, product_likeness
from catalog.alignment.votes import Ballot, Election
from catalog.dtypes import Array

ROUNDING = 1e-6
"""Relative gain below which a new order may be due to rounding and is rejected."""


class CoordinateDescent:
    """Coordinate descent of a chunk of networks towards their reference.

    Parameters
    ----------
    groups : list of Group
        Symbols that are solved together, in the order of a round.
    election : Election
        The networks and their references, laid out for votes.
    """

    def __init__(self, groups: list[Group], election: Election) -> None:
        self.groups, self.election = groups, election
        self.n = election.networks.n
        self.sizes = election.ballots.sizes

    def run(self, start: Mapping[str, Array] | None, sweeps: int) -> dict[str, Array]:
        """Run the descent and return permutations (n, size) of every symbol.

        Parameters
        ----------
        start : mapping of str to ndarray of shape (n, size) or (1, size), optional
            Orders to improve. Default: settle the symbols from the input side first.
        sweeps : int
            Maximum number of rounds over all symbols.
        """
        order = {k: np.tile(np.arange(s), (self.n, 1)) for k, s in self.sizes.items()}
        dirty = {group.name: np.ones(self.n, bool) for group in self.groups}
        if start is None:
            self._start(order, dirty)
        else:
            for key, start_order in start.items():
                order[key][:] = start_order
        for _ in range(sweeps):
            for group in self.groups:
                rows = np.flatnonzero(dirty[group.name])
                if len(rows):
                    dirty[group.name][rows] = False
                    moved = rows[self._improve(group, order, rows)]
                    for other in self._neighbours(group):
                        dirty[other][moved] = True
            if not any(flags.any() for flags in dirty.values()):
                break
        return order

    def _neighbours(self, group: Group) -> list[str]:
        near = self.election.ballots.neighbours
        touched = set().union(*(near[key] for key in group.keys))
        return [g.name for g in self.groups if touched & set(g.keys)]

    def _start(self, order: dict[str, Array], dirty: dict[str, Array]) -> None:
        """Settle the symbols one after the other, from the input side.

        A symbol that no tensor with settled symbols votes for is matched by its sorted
        weights.
        """
        settled: set[str] = set()
        waiting = list(self.groups)
        while waiting:
            group = next((g for g in waiting if self._anchored(g, settled)), waiting[0])
            waiting.remove(group)
            first_orders = self._opened(group, order, settled)
            order.update(first_orders)
            settled |= set(group.keys)
            dirty[group.name][:] = not self._complete(group, settled)

    def _anchored(self, group: Group, settled: set[str]) -> bool:
        ballots = self.election.ballots
        return any(
            ballots.fixed[key]
            or any(_keys(ballot) <= settled for ballot in ballots.bound[key])
            for key in group.keys
        )

    def _complete(self, group: Group, settled: set[str]) -> bool:
        """Check that all tensors of a group voted, so the group needs no further round."""
        ballots = self.election.ballots
        known = settled - set(group.keys)
        return not group.inner and all(
            _keys(ballot) <= known for ballot in ballots.bound[group.name]
        )

    def _opened(
        self, group: Group, order: dict[str, Array], settled: set[str]
    ) -> dict[str, Array]:
        votes = {
            key: self.election.votes(key, order, settled=settled) for key in group.keys
        }
        if not group.inner:
            outer_votes = votes[group.name]
            return {
                group.name: assign(
                    self._sorted(group.name) if outer_votes is None else outer_votes
                )
            }
        inner = {key: votes[key] for key in group.inner}
        likeness = self._likeness(group, order, settled)
        if likeness is not None:
            return by_products(group.name, group.size, group.block, inner, likeness)
        if all(part is None for part in votes.values()):
            inner = {key: self._sorted(key) for key in group.inner}
        return nested(group.name, group.size, group.block, inner, votes[group.name])

    def _likeness(
        self, group: Group, order: dict[str, Array], settled: set[str]
    ) -> Array | None:
        """Return the summed cosines of the heads' products; None unless all are settled."""
        total: Array | None = None
        for key in group.inner:
            bound = self.election.ballots.bound[key]
            if not all(_keys(ballot) <= settled for ballot in bound):
                return None
            sides = self.election.sides(key, order)
            if sides is None:
                return None
            cosine = product_likeness(*sides, group.size, group.block)
            total = cosine if total is None else total + cosine
        return total

    def _sorted(self, key: str) -> Array:
        """Return votes from the sorted weights of units, which ignore the other orders."""
        total = np.zeros((self.n, self.sizes[key], self.sizes[key]), np.float32)
        for kind in ("fixed", "bound"):
            for reference_part, network_part in zip(
                *(side.parts(kind, key) for side in self.election.both), strict=True
            ):
                sorted_reference = np.sort(reference_part, axis=1).transpose(0, 2, 1)
                total += sorted_reference @ np.sort(network_part, axis=1)
        return total

    def _improve(self, group: Group, order: dict[str, Array], rows: Array) -> Array:
        """Solve a group for some networks; return a mask (m,) of those that moved."""
        previous = {key: order[key][rows] for key in group.keys}
        votes = {key: self.election.votes(key, order, rows) for key in group.keys}
        if group.inner:
            inner = {key: votes[key] for key in group.inner}
            solution = nested(group.name, group.size, group.block, inner, votes[group.name])
        else:
            solution = {group.name: assign(_not_none(votes[group.name]))}
        if any(_keys(ballot) & set(group.keys) for ballot in self._bound(group)):
            new_votes, old_votes = self._tied(group, order, rows, previous, solution)
        else:
            new_votes, old_votes = (
                self._collected(votes, orders) for orders in (solution, previous)
            )
        scale = np.abs(new_votes).sum(1) + np.abs(old_votes).sum(1)
        moved: Array = (new_votes - old_votes).sum(1) > ROUNDING * scale
        for key, best in solution.items():
            order[key][rows] = np.where(moved[:, None], best, previous[key])
        return moved

    def _collected(
        self, votes: Mapping[str, Array | None], order: Mapping[str, Array]
    ) -> Array:
        """Return the votes (m, k) that orders collect over all symbols of a group."""
        parts = [
            collected(part, order[key]) for key, part in votes.items() if part is not None
        ]
        return np.concatenate(parts, axis=1)

    def _bound(self, group: Group) -> list[Ballot]:
        return [b for key in group.keys for b in self.election.ballots.bound[key]]

    def _tied(
        self,
        group: Group,
        order: dict[str, Array],
        rows: Array,
        previous: Mapping[str, Array],
        solution: Mapping[str, Array],
    ) -> tuple[Array, Array]:
        """Return the votes of new and old orders if a tensor has a symbol on two axes.

        In this case the votes themselves change with the order, so the solution may be
        worse than the previous order.
        """
        collected_votes = []
        for orders in (solution, previous):
            for key, new_rows in orders.items():
                order[key][rows] = new_rows
            votes = {
                key: self.election.votes(key, order, rows, halved=True)
                for key in group.keys
            }
            collected_votes.append(self._collected(votes, orders))
        return collected_votes[0], collected_votes[1]


def _not_none(votes: Array | None) -> Array:
    assert votes is not None
    return votes


def _keys(ballot: Ballot) -> set[str]:
    return {key for _, key, *_ in ballot.others}
