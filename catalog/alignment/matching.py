"""Weight matching: the order of units that brings networks closest to a reference.

The method is the coordinate descent of [1]_ over symbols, with one linear assignment per
symbol, for all networks at once. The start differs from [1]_: the symbols are matched one
after the other from the input side, each by the tensors whose other symbols are already
settled, and never from the order in which the units happen to be stored. A network and a
shuffled copy of the network therefore get the same representative (except for units that
are equal in every weight, and for rounding). A symbol is solved again only after a symbol
moved that shares a tensor with it.

References
----------
.. [1] Ainsworth et al., 2022, arXiv:2209.04836.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from catalog.alignment.descent import ROUNDING, CoordinateDescent
from catalog.alignment.groups import groups_of
from catalog.alignment.permutation import Permutations, check_permutations, permute
from catalog.alignment.votes import Ballots, Election, Laid
from catalog.dtypes import Array
from catalog.errors import LayoutMismatch
from catalog.layout import Layout

SWEEPS = 100
"""Maximum number of rounds over all symbols; the descent is expected to end earlier."""
_CHUNK = 1 << 22
"""Bytes of weights that are matched at once; matching needs several times this memory."""


@dataclass(frozen=True)
class Matching:
    """Result of matching networks to a reference.

    Attributes
    ----------
    permutations : dict of str to ndarray of shape (n, size)
        Order of the units by symbol, for `permute`.
    weights, reference : ndarray of shape (n, d); (d,) or (n, d)
        The networks and the reference that were matched.
    layout : Layout
        Layout of the networks.
    """

    permutations: dict[str, Array]
    weights: Array = field(repr=False)
    reference: Array = field(repr=False)
    layout: Layout = field(repr=False)

    @cached_property
    def objective(self) -> Array:
        """Inner products (n,) of the reference with the reordered networks.

        The inner products run over the parameters with symbols. Matching maximises them.
        """
        moved = permute(self.weights, self.permutations, self.layout)
        voting = np.zeros(self.layout.d, np.float32)
        for name, columns in self.layout.slices.items():
            param = self.layout[name]
            voting[columns] = param.role == "parameter" and any(param.axes)
        masked = self.reference * voting
        if masked.ndim == 1:
            shared: Array = (moved @ masked).astype(np.float64)
            return shared
        inner_products: Array = np.einsum("nd,nd->n", moved, masked, dtype=np.float64)
        return inner_products


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
        The networks to match.
    reference : ndarray of shape (d,) or (n, d)
        One reference for all networks, or one reference per network.
    layout : Layout
        Layout of the networks and of the reference.
    start : mapping of str to ndarray of shape (n, size), optional
        Orders to improve instead of starting from the input side. If these orders depend
        on the order in which the units are stored, the result does too.
    sweeps : int, default=100
        Maximum number of rounds over all symbols; 0 returns the start.
    restarts : int, default=0
        Number of additional starts; the best result is returned. A restart first matches
        to the reference plus noise, which is independent of the stored order of units.
    jitter : float, default=0.5
        Standard deviation of the noise, as a multiple of the standard deviation of each
        tensor of the reference.
    seed : int, default=0
        Seed of the noise.

    Returns
    -------
    Matching
        The permutations, with the weights and the reference.

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
    checked_start = (
        None if start is None else check_permutations(layout, start, len(weights))
    )
    rng = np.random.default_rng(seed)
    noise = jitter * rng.standard_normal((restarts, layout.d), np.float32)
    # A shared reference is laid out once for all chunks: as it is, then with each noise.
    shared: list[Laid] = []
    if reference.ndim == 1:
        shared = _laid_out(ballots, reference[None], noise)
    parts = []
    for rows in chunks(len(weights), layout.d):
        networks, chunk_reference = Laid(ballots, weights[rows]), reference
        references = shared
        if reference.ndim == 2:
            chunk_reference = reference[rows]
            references = _laid_out(ballots, chunk_reference, noise)
        descents = [
            CoordinateDescent(groups, Election(ballots, laid, networks))
            for laid in references
        ]
        chunk_start = None
        if checked_start is not None:
            chunk_start = {
                k: p if len(p) == 1 else p[rows] for k, p in checked_start.items()
            }
        best = Matching(
            descents[0].run(chunk_start, sweeps), weights[rows], chunk_reference, layout
        )
        for jittered in descents[1:]:
            permutations = descents[0].run(jittered.run(None, sweeps), sweeps)
            best = _better(
                best, Matching(permutations, weights[rows], chunk_reference, layout)
            )
        parts.append(best.permutations)
    joined = {
        key: np.concatenate([np.zeros((0, size), np.int64), *(p[key] for p in parts)])
        for key, size in layout.symbols.items()
    }
    return Matching(joined, weights, reference, layout)


def chunks(n: int, d: int) -> Iterator[slice]:
    """Return slices of the rows that are matched at once."""
    step = max(1, _CHUNK // (4 * max(d, 1)))
    return (slice(first, min(first + step, n)) for first in range(0, n, step))


def _laid_out(ballots: Ballots, references: Array, noise: Array) -> list[Laid]:
    """Lay out references (n, d) as they are, then with each row of noise (d,)."""
    jittered = [_jittered(ballots.layout, references, row) for row in noise]
    return [Laid(ballots, weights) for weights in (references, *jittered)]


def _better(first: Matching, second: Matching) -> Matching:
    """Select the closer order per network; the first if the difference may be rounding."""
    wins = second.objective > first.objective + ROUNDING * np.abs(first.objective)
    orders = {
        key: np.where(wins[:, None], second.permutations[key], order)
        for key, order in first.permutations.items()
    }
    return replace(first, permutations=orders)


def _jittered(layout: Layout, references: Array, noise: Array) -> Array:
    """Add noise to references (n, d), scaled by the standard deviation of each tensor."""
    moved = references.copy()
    for columns in layout.slices.values():
        part = moved[:, columns]
        if part.size:
            part += part.std(1, keepdims=True) * noise[columns]
    return moved


def _check(weights: Array, reference: Array, layout: Layout) -> None:
    if not layout.symbols:
        raise LayoutMismatch(
            "The layout has no axis symbols, which name the units that may be reordered. "
            "To infer symbols when you import a plain chain of layers: phasezoo import "
            "--axes chain."
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
    for label, values in (("weights", weights), ("reference", np.atleast_2d(reference))):
        squares = np.einsum("nd,nd->n", values, values)
        finite = np.isfinite(squares)  # infinite squares make infinite products
        if not finite.all():
            bad_rows = np.flatnonzero(~finite)
            raise LayoutMismatch(
                f"{len(bad_rows)} of {len(values)} rows of {label} hold values that are "
                "not finite, or whose squares overflow float32, first row "
                f"{bad_rows[0]}. Leave these rows out: "
                "population.select(np.isfinite((population.weights**2).sum(1)))."
            )
