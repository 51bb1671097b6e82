"""Weight matching: the order of units that brings networks closest to a reference.

Coordinate descent of [1]_ over symbols, a linear assignment each, for all networks at
once. It differs in where it starts: symbol after symbol from the input side, each by the
tensors whose other symbols are settled, never from the order in which units happen to
come. So a network and a shuffled copy of it get the same representative (units that are
equal in every weight aside, and rounding). A symbol is solved again only if one that
votes for it moved.

References
----------
.. [1] Ainsworth et al., 2022, arXiv:2209.04836.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from catalog.alignment.assignment import assign, collected
from catalog.alignment.groups import Group, groups_of
from catalog.alignment.heads import by_products, nested, product_likeness
from catalog.alignment.permutation import Permutations, check_permutations, permute
from catalog.alignment.votes import Ballot, Ballots, Election, Laid
from catalog.dtypes import Array
from catalog.errors import LayoutMismatch
from catalog.layout import Layout

SWEEPS = 100
"""Most rounds over all symbols: where descent does not end before, something is odd."""
_CHUNK = 1 << 22
"""Bytes of weights that are matched at once; several times that is needed."""
_ROUNDING = 1e-6
"""Gains below this share of the votes may be rounding, and are not taken."""


@dataclass(frozen=True)
class Matching:
    """Orders of units, and how close they bring networks to the reference.

    Attributes
    ----------
    permutations : dict of str to ndarray of shape (n, size)
        By symbol, for `permute`.
    weights, reference : ndarray of shape (n, d); (d,) or (n, d)
        What was matched.
    layout : Layout
    """

    permutations: dict[str, Array]
    weights: Array = field(repr=False)
    reference: Array = field(repr=False)
    layout: Layout = field(repr=False)

    @cached_property
    def objective(self) -> Array:
        """Inner products (n,) of the reference with the networks in their new order.

        Over parameters with symbols: what matching maximises.
        """
        moved = permute(self.weights, self.permutations, self.layout)
        voting = np.zeros(self.layout.d, np.float32)
        for name, columns in self.layout.slices.items():
            param = self.layout[name]
            voting[columns] = param.role == "parameter" and any(param.axes)
        own = self.reference * voting
        if own.ndim == 1:
            shared: Array = (moved @ own).astype(np.float64)
            return shared
        each: Array = np.einsum("nd,nd->n", moved, own, dtype=np.float64)
        return each


def match(
    weights: Array,
    reference: Array,
    layout: Layout,
    *,
    start: Permutations | None = None,
    sweeps: int = SWEEPS,
    restarts: int = 0,
    jitter: float = 0.5,
    seed: int = 0,
) -> Matching:
    """Match the units of networks to those of a reference.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
    reference : ndarray of shape (d,) or (n, d)
        One for all networks, or one for each.
    start : mapping of str to ndarray of shape (n, size), optional
        Improve these orders instead of starting from the input side. The result is then
        as independent of the given order of units as they are.
    sweeps : int, default=100
        Most rounds over all symbols; 0 gives the start.
    restarts : int, default=0
        How often to start anew; the best end counts. A restart first matches to the
        reference with noise, which the network's own order of units cannot know.
    jitter : float, default=0.5
        Deviation of that noise in those of each tensor of the reference.
    seed : int, default=0
        Of the noise.

    Raises
    ------
    LayoutMismatch
        If shapes do not fit, if there is nothing to match, or if weights are not finite.

    Examples
    --------
    >>> from catalog import Param
    >>> into = Param("in", (2, 1), ("h", None))
    >>> layout = Layout((into, Param("out", (1, 2), (None, "h"))))
    >>> match(np.float32([[2, 1, 4, 3]]), np.float32([1, 2, 3, 4]), layout).permutations
    {'h': array([[1, 0]])}
    """
    weights = np.asarray(weights, np.float32)
    reference = np.asarray(reference, np.float32)
    _check(weights, reference, layout)
    ballots = Ballots.of(layout)
    groups = groups_of(ballots)
    started = None if start is None else check_permutations(layout, start, len(weights))
    rng = np.random.default_rng(seed)
    noise = jitter * rng.standard_normal((restarts, layout.d), np.float32)
    # What all chunks share is laid out once: the reference, then it with each noise.
    shared: list[Laid] = []
    if reference.ndim == 1:
        shared = _laid_out(ballots, reference[None], noise)
    parts = []
    for rows in chunks(len(weights), layout.d):
        networks, own = Laid(ballots, weights[rows]), reference
        references = shared
        if reference.ndim == 2:
            own = reference[rows]
            references = _laid_out(ballots, own, noise)
        descents = [
            _Descent(groups, Election(ballots, laid, networks)) for laid in references
        ]
        some = None
        if started is not None:
            some = {k: p if len(p) == 1 else p[rows] for k, p in started.items()}
        best = Matching(descents[0].run(some, sweeps), weights[rows], own, layout)
        for away in descents[1:]:
            again = descents[0].run(away.run(None, sweeps), sweeps)
            best = _better(best, Matching(again, weights[rows], own, layout))
        parts.append(best.permutations)
    found = {
        key: np.concatenate([np.zeros((0, size), np.int64), *(p[key] for p in parts)])
        for key, size in layout.symbols.items()
    }
    return Matching(found, weights, reference, layout)


def chunks(n: int, d: int) -> Iterator[slice]:
    """Rows that are worked on at once."""
    step = max(1, _CHUNK // (4 * max(d, 1)))
    return (slice(first, min(first + step, n)) for first in range(0, n, step))


class _Descent:
    """Coordinate descent of some networks towards their reference."""

    def __init__(self, groups: list[Group], election: Election) -> None:
        self.groups, self.election = groups, election
        self.n = election.networks.n
        self.sizes = election.ballots.sizes

    def run(self, start: Mapping[str, Array] | None, sweeps: int) -> dict[str, Array]:
        """Permutations (n, size) of every symbol."""
        order = {k: np.tile(np.arange(s), (self.n, 1)) for k, s in self.sizes.items()}
        dirty = {group.name: np.ones(self.n, bool) for group in self.groups}
        if start is None:
            self._start(order, dirty)
        else:
            for key, given in start.items():
                order[key][:] = given
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
        """Settle every symbol by what is settled before it, from the input side.

        A symbol that nothing settled votes for is matched by its sorted weights.
        """
        settled: set[str] = set()
        waiting = list(self.groups)
        while waiting:
            group = next((g for g in waiting if self._anchored(g, settled)), waiting[0])
            waiting.remove(group)
            found = self._opened(group, order, settled)
            order.update(found)
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
        """Whether everything that votes for a symbol did so: then nothing is left."""
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
            own = votes[group.name]
            return {group.name: assign(self._sorted(group.name) if own is None else own)}
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
        """How alike heads are in all their products; None unless all are settled."""
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
        """Votes by the sorted weights of units: the same in any order of the others."""
        total = np.zeros((self.n, self.sizes[key], self.sizes[key]), np.float32)
        for kind in ("fixed", "bound"):
            for ours, theirs in zip(
                *(side.parts(kind, key) for side in self.election.both), strict=True
            ):
                mine = np.sort(ours, axis=1).transpose(0, 2, 1)
                total += mine @ np.sort(theirs, axis=1)
        return total

    def _improve(self, group: Group, order: dict[str, Array], rows: Array) -> Array:
        """Solve one group for some networks; which of them moved."""
        before = {key: order[key][rows] for key in group.keys}
        votes = {key: self.election.votes(key, order, rows) for key in group.keys}
        if group.inner:
            inner = {key: votes[key] for key in group.inner}
            found = nested(group.name, group.size, group.block, inner, votes[group.name])
        else:
            found = {group.name: assign(_given(votes[group.name]))}
        if any(_keys(ballot) & set(group.keys) for ballot in self._bound(group)):
            new, old = self._tied(group, order, rows, before, found)
        else:
            new, old = (self._collected(votes, some) for some in (found, before))
        scale = np.abs(new).sum(1) + np.abs(old).sum(1)
        moved: Array = (new - old).sum(1) > _ROUNDING * scale
        for key, best in found.items():
            order[key][rows] = np.where(moved[:, None], best, before[key])
        return moved

    def _collected(
        self, votes: Mapping[str, Array | None], order: Mapping[str, Array]
    ) -> Array:
        """Votes (m, k) of all symbols of a group."""
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
        before: Mapping[str, Array],
        found: Mapping[str, Array],
    ) -> tuple[Array, Array]:
        """Votes with new and old orders where a tensor has a symbol on two axes.

        There the votes themselves change with the order, and the solution need not be
        better than what was.
        """
        both = []
        for some in (found, before):
            for key, new in some.items():
                order[key][rows] = new
            votes = {
                key: self.election.votes(key, order, rows, halved=True)
                for key in group.keys
            }
            both.append(self._collected(votes, some))
        return both[0], both[1]


def _laid_out(ballots: Ballots, references: Array, noise: Array) -> list[Laid]:
    """References (n, d) as they are, then with each noise (d,)."""
    jittered = [_jittered(ballots.layout, references, extra) for extra in noise]
    return [Laid(ballots, some) for some in (references, *jittered)]


def _better(first: Matching, second: Matching) -> Matching:
    """Of each network the closer order; the first, if rounding decides."""
    wins = second.objective > first.objective + _ROUNDING * np.abs(first.objective)
    orders = {
        key: np.where(wins[:, None], second.permutations[key], order)
        for key, order in first.permutations.items()
    }
    return replace(first, permutations=orders)


def _given(votes: Array | None) -> Array:
    assert votes is not None
    return votes


def _keys(ballot: Ballot) -> set[str]:
    return {key for _, key, *_ in ballot.others}


def _jittered(layout: Layout, references: Array, noise: Array) -> Array:
    """References (n, d) with noise, in deviations of each tensor of each reference."""
    moved = references.copy()
    for columns in layout.slices.values():
        part = moved[:, columns]
        if part.size:
            part += part.std(1, keepdims=True) * noise[columns]
    return moved


def _check(weights: Array, reference: Array, layout: Layout) -> None:
    if not layout.symbols:
        raise LayoutMismatch(
            "The layout has no axis symbols, so nothing says which units may be reordered. "
            "For an import of a plain chain: phasezoo import --axes chain."
        )
    n = len(weights)
    if weights.shape != (n, layout.d) or reference.shape not in (
        (layout.d,),
        (n, layout.d),
    ):
        raise LayoutMismatch(
            f"weights must have shape (n, {layout.d}) and the reference ({layout.d},) or "
            f"(n, {layout.d}). Got {weights.shape} and {reference.shape}."
        )
    for what, values in (("weights", weights), ("reference", np.atleast_2d(reference))):
        squares = np.einsum("nd,nd->n", values, values)
        finite = np.isfinite(squares)  # else their products are not finite either
        if not finite.all():
            bad = np.flatnonzero(~finite)
            raise LayoutMismatch(
                f"{len(bad)} of {len(values)} rows of {what} hold values that are not "
                f"finite, or whose squares are not in float32, first row {bad[0]}. Leave "
                "them out: population.select(np.isfinite((population.weights**2).sum(1)))."
            )
