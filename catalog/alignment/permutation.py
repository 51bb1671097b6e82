"""Reordering the units of networks, and the algebra of reorderings.

A permutation of a symbol is an array ``p`` of unit numbers: unit i of the result is unit
``p[i]`` of what is given, in every tensor that carries the symbol. A symbol within the
units of another (``qk`` of ``"head*8:qk"``) has positions of all heads: it carries whole
heads where the permutation of ``head`` carries them, so that composing and inverting need
no special case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias, overload

import numpy as np

from catalog.axis_symbol import read_symbol
from catalog.dtypes import Array
from catalog.errors import LayoutMismatch, NotFound, closest
from catalog.layout import Layout
from catalog.population import Population

Permutations: TypeAlias = Mapping[str, Array]
"""By symbol: (n, size) integers, row i for network i; or (size,), for all networks."""


@overload
def permute(weights: Population, permutations: Permutations) -> Population: ...
@overload
def permute(weights: Array, permutations: Permutations, layout: Layout) -> Array: ...
def permute(
    weights: Population | Array, permutations: Permutations, layout: Layout | None = None
) -> Population | Array:
    """Networks with their units in another order, which compute the same.

    Parameters
    ----------
    weights : Population or ndarray of shape (n, d) or (d,)
        Counters and constants of a population are permuted too.
    permutations : mapping of str to ndarray of shape (n, size) or (size,)
        By symbol of the layout; symbols that are left out stay in order. Where a symbol
        lies within the units of another and only that is given, the positions within a
        unit stay in order.
    layout : Layout, optional
        Of an array.

    Returns
    -------
    Population or ndarray
        Of the same kind and shape.

    Raises
    ------
    NotFound
        If the layout has no such symbol.
    LayoutMismatch
        If an array is no permutation, or has another size or number of rows.

    Examples
    --------
    >>> from catalog import Param
    >>> into = Param("in", (2, 1), ("h", None))
    >>> layout = Layout((into, Param("out", (1, 2), (None, "h"))))
    >>> permute(np.float32([[1, 2, 3, 4]]), {"h": np.array([1, 0])}, layout)
    array([[2., 1., 4., 3.]], dtype=float32)
    """
    if isinstance(weights, Population):
        n, layout = len(weights), weights.layout
        known = check_permutations(layout, permutations, n)
        extra = {
            param.name: _permuted(weights.extra[param.name], param.axes, known)
            for param in layout.extra
        }
        moved = _permuted_matrix(weights.weights, layout, known)
        return replace(weights, weights=moved, extra=extra)
    if layout is None:
        raise TypeError("An array of weights needs its layout: permute(w, p, layout).")
    matrix = weights[None] if weights.ndim == 1 else weights
    if matrix.ndim != 2 or matrix.shape[1] != layout.d:
        raise LayoutMismatch(
            f"Weights must have shape (n, {layout.d}) or ({layout.d},). Got "
            f"{weights.shape}."
        )
    known = check_permutations(layout, permutations, len(matrix))
    return _permuted_matrix(matrix, layout, known).reshape(weights.shape)


def invert(permutations: Permutations) -> dict[str, Array]:
    """The permutations that undo these.

    Examples
    --------
    >>> invert({"h": np.array([2, 0, 1])})
    {'h': array([1, 2, 0])}
    """
    return {name: np.argsort(p, axis=-1) for name, p in permutations.items()}


def compose(first: Permutations, second: Permutations) -> dict[str, Array]:
    """One permutation per symbol that does what ``first`` and then ``second`` do.

    Symbols that only one of them has are taken from it. Where a symbol lies within the
    units of another, give both in both, or in neither.

    Raises
    ------
    LayoutMismatch
        If the sizes of a symbol differ.

    Examples
    --------
    >>> compose({"h": np.array([2, 0, 1])}, {"h": np.array([1, 0, 2])})
    {'h': array([0, 2, 1])}
    """
    composed = {**first, **second}
    for name in first.keys() & second.keys():
        p, q = np.asarray(first[name]), np.asarray(second[name])
        if p.shape[-1] != q.shape[-1] or (p.ndim == q.ndim == 2 and len(p) != len(q)):
            raise LayoutMismatch(
                f"Cannot compose permutations of {name!r} of shapes {p.shape} and "
                f"{q.shape}: both must have one size, and one number of networks."
            )
        if p.ndim < q.ndim:
            p = np.broadcast_to(p, q.shape)
        elif q.ndim < p.ndim:
            q = np.broadcast_to(q, p.shape)
        composed[name] = np.take_along_axis(p, q, -1)
    return composed


def random_permutations(
    layout: Layout, n: int, *, seed: int, symbols: tuple[str, ...] | None = None
) -> dict[str, Array]:
    """Uniformly drawn permutations (n, size) of some or all symbols.

    Parameters
    ----------
    symbols : tuple of str, optional
        Default: all. One that lies within the units of another comes with the other,
        which stays in order unless it is named too.
    """
    rng = np.random.default_rng(seed)
    sizes, homes = layout.symbols, layout.homes
    chosen = tuple(sizes) if symbols is None else symbols
    for name in chosen:
        known_symbol(layout, name)
    drawn = {
        name: rng.permuted(np.tile(np.arange(sizes[name]), (n, 1)), axis=1)
        for name in sizes
        if name in chosen and name not in homes
    }
    for name in chosen:
        if name in homes:
            home, block = homes[name]
            heads = drawn.setdefault(home, np.tile(np.arange(sizes[home]), (n, 1)))
            within = np.tile(np.arange(block), (n, sizes[home], 1))
            within = rng.permuted(within, axis=2)
            drawn[name] = (heads[:, :, None] * block + within).reshape(n, -1)
    return drawn


def check_permutations(
    layout: Layout, permutations: Permutations, n: int
) -> dict[str, Array]:
    """Permutations (n, size) or (1, size) by index key, ready to gather with.

    Raises
    ------
    NotFound, LayoutMismatch
        As `permute`.
    """
    known: dict[str, Array] = {}
    for name, given in permutations.items():
        size = known_symbol(layout, name)
        p = np.asarray(given)
        if p.shape not in ((size,), (n, size)) or p.dtype.kind not in "iu":
            raise LayoutMismatch(
                f"The permutation of {name!r} must hold integers and have shape "
                f"({size},) or ({n}, {size}). Got {p.dtype} {p.shape}."
            )
        p = np.atleast_2d(p).astype(np.int64)
        wrong = (np.sort(p, axis=1) != np.arange(size)).any(axis=1)
        if wrong.any():
            row = int(wrong.argmax())
            raise LayoutMismatch(
                f"Row {row} of the permutation of {name!r} does not hold every number "
                f"from 0 to {size - 1} once: {p[row][:8].tolist()}{'...' * (size > 8)}."
            )
        known[name] = p
    for name, (home, block) in layout.homes.items():
        if name in known:
            heads = known.get(home, np.arange(layout.symbols[home])[None])
            carried = known[name].reshape(len(known[name]), -1, block) // block
            if (carried != heads[:, :, None]).any():
                raise LayoutMismatch(
                    f"The permutation of {name!r} must carry {block} positions as a whole "
                    f"to where that of {home!r} carries its units; here it tears some "
                    "apart. Give both, as `random_permutations` draws them."
                )
        elif home in known:
            known[name] = block_permutation(known[home], block)
    return known


def known_symbol(layout: Layout, name: str) -> int:
    """Size of a symbol, or NotFound."""
    sizes = layout.symbols
    if name not in sizes:
        raise NotFound(f"The layout has no symbol {name!r}. {closest(name, sizes)}")
    return sizes[name]


def block_permutation(permutation: Array, block: int) -> Array:
    """Permutation (n, size * block) of the positions of units that span ``block``."""
    wide = permutation[:, :, None] * block + np.arange(block)
    return wide.reshape(len(permutation), -1)


def axis_key(symbol: str) -> tuple[str, int]:
    """Which permutation an axis follows, and how many positions each entry moves."""
    name, block, inner = read_symbol(symbol)
    return (name, block) if inner is None else (inner, 1)


def gather(
    values: Array, lead: int, units: int, permutation: Array, rows: Array | None = None
) -> Array:
    """Reorder an axis of n arrays.

    Parameters
    ----------
    values : ndarray of shape (n, lead * units * run)
        C-contiguous, the axis in the middle: runs move as wholes.
    permutation : ndarray of shape (n, units) or (1, units)
    rows : ndarray of int, optional
        Take these arrays, with a permutation each.

    Returns
    -------
    ndarray of shape (n, lead * units * run)
    """
    chosen = np.arange(len(values)) if rows is None else rows
    runs = values.reshape(len(values) * lead * units, -1)
    start = (chosen[:, None] * lead + np.arange(lead))[:, :, None] * units
    index = start + permutation[:, None, :]
    moved: Array = runs.take(index.reshape(-1), axis=0)
    return moved.reshape(len(chosen), *values.shape[1:])


def _permuted_matrix(
    weights: Array, layout: Layout, permutations: Mapping[str, Array]
) -> Array:
    moved = weights.copy()
    for name, columns in layout.slices.items():
        param = layout[name]
        if param.size and len(weights):
            values = weights[:, columns].reshape(len(weights), *param.shape)
            values = _permuted(values, param.axes, permutations)
            moved[:, columns] = values.reshape(len(weights), -1)
    return moved


def _permuted(
    values: Array, axes: tuple[str | None, ...], permutations: Mapping[str, Array]
) -> Array:
    """Tensors (n, *shape) with their axes reordered."""
    n, shape = len(values), values.shape
    if not values.size:
        return values
    for axis, symbol in enumerate(axes, 1):
        key, block = axis_key(symbol) if symbol else ("", 1)
        if symbol and key in permutations:
            lead = int(np.prod(shape[1:axis]))
            flat = np.ascontiguousarray(values).reshape(n, -1)
            units = shape[axis] // block
            values = gather(flat, lead, units, permutations[key]).reshape(shape)
    return values
