"""Permutations of the units of networks, their inverses and their products.

A permutation of a symbol is an array ``p`` of unit numbers: unit i of the result is unit
``p[i]`` of the input, in every tensor that carries the symbol. The permutation of a symbol
within the units of another symbol (``qk`` of ``"head*8:qk"``) numbers the positions of all
heads and moves whole heads to the same places as the permutation of ``head``, so composing
and inverting need no special case.
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
"""Integers by symbol, of shape (n, size) with row i for network i, or (size,) for all."""


@overload
def permute(weights: Population, permutations: Permutations) -> Population: ...
@overload
def permute(weights: Array, permutations: Permutations, layout: Layout) -> Array: ...
def permute(
    weights: Population | Array, permutations: Permutations, layout: Layout | None = None
) -> Population | Array:
    """Reorder the units of networks, which keeps the functions that they compute.

    Parameters
    ----------
    weights : Population or ndarray of shape (n, d) or (d,)
        Counters and constants of a population are permuted too.
    permutations : mapping of str to ndarray of shape (n, size) or (size,)
        Permutations by symbol of the layout; symbols that are left out stay in order. If a
        symbol lies within the units of another symbol and only the outer symbol is given,
        the positions within a unit stay in order.
    layout : Layout, optional
        Layout of the weights; required for an array.

    Returns
    -------
    Population or ndarray
        The reordered networks, of the same type and shape as ``weights``.

    Raises
    ------
    NotFound
        If the layout has no such symbol.
    LayoutMismatch
        If an array is not a permutation, or has a wrong size or number of rows.

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
        checked = check_permutations(layout, permutations, n)
        extra = {
            param.name: _permuted(weights.extra[param.name], param.axes, checked)
            for param in layout.extra
        }
        moved = _permuted_matrix(weights.weights, layout, checked)
        return replace(weights, weights=moved, extra=extra)
    if layout is None:
        raise TypeError(
            "An array of weights needs its layout: permute(weights, permutations, layout)."
        )
    matrix = weights[None] if weights.ndim == 1 else weights
    if matrix.ndim != 2 or matrix.shape[1] != layout.d:
        raise LayoutMismatch(
            f"Weights must have shape (n, {layout.d}) or ({layout.d},). Got "
            f"{weights.shape}."
        )
    checked = check_permutations(layout, permutations, len(matrix))
    return _permuted_matrix(matrix, layout, checked).reshape(weights.shape)


def invert(permutations: Permutations) -> dict[str, Array]:
    """Return the inverse permutations.

    Examples
    --------
    >>> invert({"h": np.array([2, 0, 1])})
    {'h': array([1, 2, 0])}
    """
    return {name: np.argsort(p, axis=-1) for name, p in permutations.items()}


def compose(first: Permutations, second: Permutations) -> dict[str, Array]:
    """Return the permutation of each symbol that applies ``first`` and then ``second``.

    A symbol that only one argument has is taken from that argument. If a symbol lies within
    the units of another symbol, give both symbols in both arguments, or neither in any.

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
                f"{q.shape}: the sizes and the numbers of networks must be equal."
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
    """Draw permutations (n, size) of some or all symbols uniformly at random.

    Parameters
    ----------
    layout : Layout
        Layout of the networks.
    n : int
        Number of networks.
    seed : int
        Seed of the random generator.
    symbols : tuple of str, optional
        Symbols to permute. Default: all symbols. For a symbol within the units of another
        symbol, the result also holds the outer symbol, which stays in order unless it is
        named too.
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
    """Check permutations and return them as int64 of shape (n, size) or (1, size), by key.

    Symbols within the units of a permuted symbol are added.

    Raises
    ------
    NotFound
        If the layout has no such symbol.
    LayoutMismatch
        If an array is not a permutation, or has a wrong size or number of rows.
    """
    checked: dict[str, Array] = {}
    for name, permutation in permutations.items():
        size = known_symbol(layout, name)
        p = np.asarray(permutation)
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
        checked[name] = p
    for name, (home, block) in layout.homes.items():
        if name in checked:
            heads = checked.get(home, np.arange(layout.symbols[home])[None])
            carried = checked[name].reshape(len(checked[name]), -1, block) // block
            if (carried != heads[:, :, None]).any():
                raise LayoutMismatch(
                    f"The permutation of {name!r} must carry {block} positions as a whole "
                    f"to where the permutation of {home!r} carries its units, but here it "
                    "splits some units. Give both permutations, as `random_permutations` "
                    "draws them."
                )
        elif home in checked:
            checked[name] = block_permutation(checked[home], block)
    return checked


def known_symbol(layout: Layout, name: str) -> int:
    """Return the size of a symbol; raise NotFound if the layout has no such symbol."""
    sizes = layout.symbols
    if name not in sizes:
        raise NotFound(f"The layout has no symbol {name!r}. {closest(name, sizes)}")
    return sizes[name]


def block_permutation(permutation: Array, block: int) -> Array:
    """Return the permutation (n, size * block) of the positions of units of ``block``."""
    wide = permutation[:, :, None] * block + np.arange(block)
    return wide.reshape(len(permutation), -1)


def axis_key(symbol: str) -> tuple[str, int]:
    """Return the key of an axis symbol's permutation, and the positions per entry."""
    name, block, inner = read_symbol(symbol)
    return (name, block) if inner is None else (inner, 1)


def gather(
    values: Array, lead: int, units: int, permutation: Array, rows: Array | None = None
) -> Array:
    """Reorder an axis of n arrays.

    Parameters
    ----------
    values : ndarray of shape (n, lead * units * run)
        C-contiguous values with the axis in the middle; the entries of a run move together.
    lead, units : int
        Product of the sizes of the axes before, and number of units on the axis.
    permutation : ndarray of shape (n, units) or (1, units)
        Unit i of the result is unit ``permutation[:, i]`` of the values.
    rows : ndarray of int, optional
        Arrays to take, with one permutation each. Default: all arrays.

    Returns
    -------
    ndarray of shape (n, lead * units * run)
        The reordered values.
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
    """Reorder the axes of tensors (n, *shape)."""
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
