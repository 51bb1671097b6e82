"""Votes (matching scores) for placing unit j of a network in the place of unit i.

For each symbol, the tensors that carry the symbol are laid out once, with the units last.
The votes are the inner products of the units of a reference with the units of a network,
summed over tensors. Given the order of all other symbols, the best assignment of this
matrix brings network and reference closest. The votes of tensors without other symbols do
not depend on that order and are computed once.
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
    """One axis of one tensor, which votes for a symbol.

    Attributes
    ----------
    param : Param
        The tensor.
    axis : int
        The axis of the tensor.
    key : str
        The symbol that the axis votes for.
    units, block : int
        Number of entries of the symbol on the axis, and positions that each entry spans.
    others : tuple of (int, str, int, int)
        Axis, key, units and block of each other axis with a symbol.
    """

    param: Param
    axis: int
    key: str
    units: int
    block: int
    others: tuple[tuple[int, str, int, int], ...]

    @property
    def order(self) -> tuple[int, ...]:
        """Order of the axes of ``(n, *shape[:axis], units, block, *shape[axis + 1:])``.

        The networks come first, then the axes with other symbols, then the axes without
        symbols, and the units last.
        """
        shift = [a + 1 + (a > self.axis) for a, *_ in self.others]
        rest = [i for i in range(1, len(self.param.shape) + 2) if i != self.axis + 1]
        return (0, *shift, *(i for i in rest if i not in shift), self.axis + 1)

    def lay_out(self, weights: Array, columns: slice) -> Array:
        """Return the contiguous values (n, K, units) of networks (n, d)."""
        shape = self.param.shape
        split = (*shape[: self.axis], self.units, self.block, *shape[self.axis + 1 :])
        values = weights[:, columns].reshape(len(weights), *split).transpose(self.order)
        return np.ascontiguousarray(values).reshape(len(weights), -1, self.units)

    def reordered(
        self, laid: Array, permutations: Mapping[str, Array], rows: Array | None = None
    ) -> Array:
        """Reorder the other axes of laid-out values by permutations.

        With ``rows``, only the values of these networks are returned.
        """
        shape, leading = (len(laid) if rows is None else len(rows), *laid.shape[1:]), 1
        chosen = rows
        for _, key, units, block in self.others:
            flat = laid.reshape(len(laid), -1)
            order = permutations[key] if rows is None else permutations[key][rows]
            laid = gather(flat, leading, units, order, chosen).reshape(shape)
            leading *= units * block
            chosen = None  # the first gather picked the networks
        return laid


@dataclass(frozen=True)
class Ballots:
    """All ballots of a layout by symbol.

    Attributes
    ----------
    layout : Layout
        The layout.
    sizes : dict of str to int
        Number of entries of each symbol.
    fixed, bound : dict of str to tuple of Ballot
        Ballots for each symbol: of tensors without and with other symbols.
    neighbours : dict of str to set of str
        Symbols whose votes change with the order of each symbol.
    """

    layout: Layout
    sizes: dict[str, int] = field(default_factory=dict)
    fixed: dict[str, tuple[Ballot, ...]] = field(default_factory=dict)
    bound: dict[str, tuple[Ballot, ...]] = field(default_factory=dict)
    neighbours: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, layout: Layout) -> Ballots:
        """Collect the ballots of a layout's parameters.

        Buffers have no ballot: in some networks, running variances are larger than all
        weights and would decide the matching alone, although they describe the variation
        of a layer's inputs rather than the function of the layer.
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
        for name, symbol_ballots in ballots.items():
            for ballot in symbol_ballots:
                for _, key, *_ in ballot.others:
                    neighbours[key].add(name)
        return cls(
            layout,
            sizes,
            {
                name: tuple(b for b in symbol_ballots if not b.others)
                for name, symbol_ballots in ballots.items()
            },
            {
                name: tuple(b for b in symbol_ballots if b.others)
                for name, symbol_ballots in ballots.items()
            },
            neighbours,
        )


class Laid:
    """Networks or references, laid out for every symbol.

    Parameters
    ----------
    ballots : Ballots
        Ballots of the layout.
    weights : ndarray of shape (n, d)
        Weights of the networks or references.
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
        """Fixed and bound values (n, size, K), as the left factors of the vote products."""
        return (
            {k: None if v is None else _transposed(v) for k, v in self.fixed.items()},
            {k: tuple(map(_transposed, parts)) for k, parts in self.bound.items()},
        )

    def parts(self, kind: str, name: str) -> Sequence[Array]:
        """Return the values (n, K, size) of each "fixed" or "bound" tensor of a symbol."""
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
    ballots : Ballots
        Ballots of the layout.
    reference : Laid
        One reference for all networks, or one reference per network.
    networks : Laid
        The networks.
    """

    def __init__(self, ballots: Ballots, reference: Laid, networks: Laid) -> None:
        self.ballots, self.networks = ballots, networks
        self.both = (reference, networks)
        self._shared = reference.n == 1
        self._fixed, self._bound = reference.transposed
        self._counted: dict[str, Array | None] = {}

    def fixed_votes(self, name: str) -> Array | None:
        """Return the votes (n, size, size) of tensors without other symbols, or None."""
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
        """Compute votes (m, size, size); entry (i, j) is the score of unit j in place i.

        Parameters
        ----------
        name : str
            The symbol.
        permutations : mapping of str to ndarray of shape (n, size)
            The order of all other symbols.
        rows : ndarray of int, optional
            Rows of the networks that vote. Default: all networks.
        settled : collection of str, optional
            Symbols with a settled order; tensors with further symbols do not vote.
        halved : bool, default=False
            Halve the votes of a tensor that has the symbol on both axes and therefore
            votes twice.

        Returns
        -------
        ndarray or None
            The votes; None if no tensor votes.
        """
        pick = slice(None) if rows is None else rows
        total = self.fixed_votes(name)
        total = None if total is None else total[pick]
        writable = rows is not None
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
            elif writable:
                total += votes
            else:
                total = total + votes
            writable = True
        return total

    def sides(
        self, name: str, permutations: Mapping[str, Array]
    ) -> tuple[list[Array], list[Array]] | None:
        """Return the two matrices of a symbol, with a bias as a further row of its matrix.

        Parameters
        ----------
        name : str
            The symbol.
        permutations : mapping of str to ndarray of shape (n, size)
            The order of all other symbols.

        Returns
        -------
        two lists of ndarray of shape (n, K, size), or None
            Matrices of the reference and of the networks, one entry per matrix. None
            unless the symbol has two matrices.
        """
        laid: dict[str, tuple[Array, Array]] = {}
        for kind in ("fixed", "bound"):
            ballots = getattr(self.ballots, kind)[name]
            reference_parts, network_parts = (side.parts(kind, name) for side in self.both)
            for ballot, reference_part, network_part in zip(
                ballots, reference_parts, network_parts, strict=True
            ):
                moved = ballot.reordered(network_part, permutations)
                laid[ballot.param.name] = (reference_part, moved)
        sides: list[list[tuple[Array, Array]]] = []
        for param in self.ballots.layout:
            if param.name in laid:
                if len(param.shape) > 1 or not sides:
                    sides.append([])
                sides[-1].append(laid[param.name])
        if len(sides) != 2:
            return None
        reference_parts = [
            np.concatenate([reference_part for reference_part, _ in side], axis=1)
            for side in sides
        ]
        network_parts = [
            np.concatenate([network_part for _, network_part in side], axis=1)
            for side in sides
        ]
        return reference_parts, network_parts


def _transposed(laid: Array) -> Array:
    return np.ascontiguousarray(laid.transpose(0, 2, 1))
