"""What speaks for matching unit j of a network to unit i of a reference.

For each symbol the tensors that carry it are laid out once, units last. The inner product
of the units of a reference with those of a network, summed over tensors, is the matrix
whose best assignment brings the two closest, given the order of all other symbols.
Tensors without other symbols vote the same whatever that order is: they are multiplied
once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from catalog.alignment.permutation import axis_key, gather
from catalog.dtypes import Array
from catalog.layout import Layout, Param


@dataclass(frozen=True)
class Ballot:
    """One axis of one tensor, as it votes for a symbol.

    Attributes
    ----------
    param : Param
    axis : int
    key : str
        The symbol that it votes for.
    units, block : int
        Entries of the symbol on the axis, and positions that each spans.
    others : tuple of (int, str, int, int)
        The other axes with symbols: axis, key, units, block.
    """

    param: Param
    axis: int
    key: str
    units: int
    block: int
    others: tuple[tuple[int, str, int, int], ...]

    @property
    def order(self) -> tuple[int, ...]:
        """Axes of ``(n, *shape[:axis], units, block, *shape[axis + 1:])`` as laid out.

        Networks, other symbols' axes, all that is fixed, and the units last.
        """
        shift = [a + 1 + (a > self.axis) for a, *_ in self.others]
        rest = [i for i in range(1, len(self.param.shape) + 2) if i != self.axis + 1]
        return (0, *shift, *(i for i in rest if i not in shift), self.axis + 1)

    def lay_out(self, weights: Array, columns: slice) -> Array:
        """Values (n, K, units) of networks (n, d), contiguous."""
        shape = self.param.shape
        split = (*shape[: self.axis], self.units, self.block, *shape[self.axis + 1 :])
        values = weights[:, columns].reshape(len(weights), *split).transpose(self.order)
        return np.ascontiguousarray(values).reshape(len(weights), -1, self.units)

    def reordered(
        self, laid: Array, permutations: Mapping[str, Array], rows: Array | None = None
    ) -> Array:
        """Laid-out values with their other axes in the order of some permutations.

        With ``rows``, those of some networks.
        """
        shape, lead = (len(laid) if rows is None else len(rows), *laid.shape[1:]), 1
        chosen = rows
        for _, key, units, block in self.others:
            flat = laid.reshape(len(laid), -1)
            order = permutations[key] if rows is None else permutations[key][rows]
            laid = gather(flat, lead, units, order, chosen).reshape(shape)
            lead *= units * block
            chosen = None  # the first gather picked the networks
        return laid


@dataclass(frozen=True)
class Ballots:
    """All votes of a layout by symbol.

    Attributes
    ----------
    sizes : dict of str to int
        Entries of each symbol.
    fixed, bound : dict of str to tuple of Ballot
        By the symbol that they vote for: without and with other symbols.
    neighbours : dict of str to set of str
        Symbols whose votes change with this one.
    """

    layout: Layout
    sizes: dict[str, int] = field(default_factory=dict)
    fixed: dict[str, tuple[Ballot, ...]] = field(default_factory=dict)
    bound: dict[str, tuple[Ballot, ...]] = field(default_factory=dict)
    neighbours: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, layout: Layout) -> Ballots:
        """The votes of a layout's parameters.

        Buffers have none. Running variances are larger than all weights in some
        networks; they would decide alone, and say how a layer's inputs vary rather than
        what it computes.
        """
        sizes = layout.symbols
        ballots: dict[str, list[Ballot]] = {name: [] for name in sizes}
        for param in layout:
            if param.role != "parameter" or not param.size:
                continue
            axes = []
            for axis, symbol in enumerate(param.axes):
                if symbol is not None:
                    key, block = axis_key(symbol)
                    axes.append((axis, key, sizes[key], block))
            for axis, key, units, block in axes:
                others = tuple(other for other in axes if other[0] != axis)
                ballots[key].append(Ballot(param, axis, key, units, block, others))
        neighbours: dict[str, set[str]] = {name: set() for name in sizes}
        for name, own in ballots.items():
            for ballot in own:
                for _, key, *_ in ballot.others:
                    neighbours[key].add(name)
        return cls(
            layout,
            sizes,
            {name: tuple(b for b in own if not b.others) for name, own in ballots.items()},
            {name: tuple(b for b in own if b.others) for name, own in ballots.items()},
            neighbours,
        )


class Laid:
    """Networks or a reference, laid out for every symbol.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
    """

    def __init__(self, ballots: Ballots, weights: Array) -> None:
        slices = ballots.layout.slices
        self.n = len(weights)
        self.fixed: dict[str, Array | None] = {}
        self.bound: dict[str, tuple[Array, ...]] = {}
        self._rows: dict[str, list[int]] = {}
        for name in ballots.sizes:
            parts = [b.lay_out(weights, slices[b.param.name]) for b in ballots.fixed[name]]
            self.fixed[name] = np.concatenate(parts, axis=1) if parts else None
            self._rows[name] = [part.shape[1] for part in parts]
            self.bound[name] = tuple(
                b.lay_out(weights, slices[b.param.name]) for b in ballots.bound[name]
            )

    @cached_property
    def transposed(
        self,
    ) -> tuple[dict[str, Array | None], dict[str, tuple[Array, ...]]]:
        """Fixed and bound values (n, size, K): the reference's side of the products."""
        return (
            {k: None if v is None else _transposed(v) for k, v in self.fixed.items()},
            {k: tuple(map(_transposed, parts)) for k, parts in self.bound.items()},
        )

    def parts(self, kind: str, name: str) -> Sequence[Array]:
        """Values (n, K, size) of each tensor that is fixed or bound."""
        if kind == "bound":
            return self.bound[name]
        joined = self.fixed[name]
        if joined is None:
            return ()
        return np.split(joined, np.cumsum(self._rows[name])[:-1], axis=1)


class Election:
    """Vote matrices of networks against a reference.

    Parameters
    ----------
    reference : Laid
        Of one network, or of one per network.
    networks : Laid
    """

    def __init__(self, ballots: Ballots, reference: Laid, networks: Laid) -> None:
        self.ballots, self.networks = ballots, networks
        self.both = (reference, networks)
        self._shared = reference.n == 1
        self._fixed, self._bound = reference.transposed
        self._counted: dict[str, Array | None] = {}

    def fixed_votes(self, name: str) -> Array | None:
        """Votes (n, size, size) of what has no other symbol; None if nothing has."""
        if name not in self._counted:
            reference, laid = self._fixed[name], self.networks.fixed[name]
            counted = None
            if reference is not None and laid is not None:
                counted = reference @ laid
            self._counted[name] = counted
        return self._counted[name]

    def votes(
        self,
        name: str,
        permutations: Mapping[str, Array],
        rows: Array | None = None,
        settled: Collection[str] | None = None,
        *,
        halved: bool = False,
    ) -> Array | None:
        """Votes (m, size, size): entry (i, j) speaks for unit j in the place of i.

        Parameters
        ----------
        permutations : mapping of str to ndarray of shape (n, size)
            The order of all other symbols.
        rows : ndarray of int, optional
            Some of the networks.
        settled : collection of str, optional
            Leave out tensors with other symbols than these.
        halved : bool, default=False
            Count a tensor that has the symbol on both axes, and votes twice, once.

        Returns
        -------
        ndarray or None
            None if no tensor votes.
        """
        pick = slice(None) if rows is None else rows
        total = self.fixed_votes(name)
        total = None if total is None else total[pick]
        owned = rows is not None
        parts = zip(
            self.ballots.bound[name],
            self._bound[name],
            self.networks.bound[name],
            strict=True,
        )
        for ballot, reference, laid in parts:
            keys = {key for _, key, *_ in ballot.others}
            if settled is not None and not keys <= set(settled):
                continue
            moved = ballot.reordered(laid, permutations, rows)
            votes = (reference if self._shared else reference[pick]) @ moved
            if halved and name in keys:
                votes *= np.float32(0.5)
            if total is None:
                total = votes
            elif owned:
                total += votes
            else:
                total = total + votes
            owned = True
        return total

    def sides(
        self, name: str, permutations: Mapping[str, Array]
    ) -> tuple[list[Array], list[Array]] | None:
        """What a symbol's matrices hold, a bias as a further column of its own.

        Parameters
        ----------
        permutations : mapping of str to ndarray of shape (n, size)
            The order of all other symbols.

        Returns
        -------
        two lists of ndarray of shape (n, K, size), or None
            Of the reference and of the networks, one entry per matrix. None unless there
            are two matrices.
        """
        laid: dict[str, tuple[Array, Array]] = {}
        for kind in ("fixed", "bound"):
            ballots = getattr(self.ballots, kind)[name]
            ours, theirs = (side.parts(kind, name) for side in self.both)
            for ballot, mine, other in zip(ballots, ours, theirs, strict=True):
                moved = ballot.reordered(other, permutations)
                laid[ballot.param.name] = (mine, moved)
        sides: list[list[tuple[Array, Array]]] = []
        for param in self.ballots.layout:
            if param.name in laid:
                if len(param.shape) > 1 or not sides:
                    sides.append([])
                sides[-1].append(laid[param.name])
        if len(sides) != 2:
            return None
        ours = [np.concatenate([mine for mine, _ in side], axis=1) for side in sides]
        theirs = [np.concatenate([other for _, other in side], axis=1) for side in sides]
        return ours, theirs


def _transposed(laid: Array) -> Array:
    return np.ascontiguousarray(laid.transpose(0, 2, 1))
