"""Scale symmetry of rectified units: incoming weights times s, outgoing weights over s.

A unit whose activation is positively homogeneous, ``f(s x) = s f(x)`` for s > 0 (ReLU,
leaky ReLU, none), gives the same function at every scale s. After balancing, the norm of
the incoming weights and bias of a unit equals the norm of its outgoing weights: this
is the network of least norm among its rescalings [1]_. A layout does not record
activations: the caller who asks for scales must know that they are homogeneous, or check it
by `check_symmetries`.

References
----------
.. [1] Saul, 2023, arXiv:2306.15793: the least p-norm among the rescalings of a network.
   Difference here: p = 2 only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

import numpy as np

from catalog.axis_symbol import read_symbol
from catalog.dtypes import Array
from catalog.errors import CatalogError, LayoutMismatch
from catalog.layout import Layout, Param

SWEEPS = 5000
"""Maximum number of rounds over all symbols; deep chains of layers take hundreds."""
_DONE = 1e-9
"""Relative change of a scale below which it has converged; small, because rounds shrink
errors slowly in chains."""


@dataclass(frozen=True)
class _Scalable:
    """Tensors that write the units of a symbol (at most one bias) and that read them."""

    written: tuple[Param, ...]
    biases: tuple[Param, ...]
    read: tuple[tuple[Param, int, int], ...]


def scalable(layout: Layout) -> tuple[str, ...]:
    """Return the symbols of plain layers, whose units are written by one weight and read.

    One weight has the symbol on its first axis, at most one vector (the bias) carries the
    symbol, and the other tensors read it on other axes. Symbols of normalised layers and of
    residual streams have more tensors. A layout does not tell whether units are rectified.

    Examples
    --------
    >>> weights = {"a": ("h", None), "b": ("h",), "c": (None, "h")}
    >>> sizes = {"a": (3, 2), "b": (3,), "c": (1, 3)}
    >>> scalable(Layout(tuple(Param(n, sizes[n], weights[n]) for n in sizes)))
    ('h',)
    """
    return tuple(name for name in layout.symbols if _plain(layout, name) is not None)


def balance(
    weights: Array, layout: Layout, symbols: Sequence[str]
) -> tuple[Array, dict[str, Array]]:
    """Rescale units to the networks of least norm that compute the same functions.

    The functions stay the same only if the activations are positively homogeneous.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
        Networks to balance.
    layout : Layout
        Layout of the networks.
    symbols : sequence of str
        Symbols to balance, among those that `scalable` returns.

    Returns
    -------
    weights : ndarray of shape (n, d), float32
        The balanced networks.
    scales : dict of str to ndarray of shape (n, size), float64
        Factors of the incoming weights and bias of each unit; 1 for units whose incoming
        or outgoing weights are all 0.

    Raises
    ------
    LayoutMismatch
        If the tensors of a symbol are not those of a plain layer.
    CatalogError
        If the scales do not converge.
    """
    parts = {name: _required(layout, name) for name in symbols}
    values = {
        name: np.asarray(tensor, np.float64)
        for name, tensor in layout.unflatten(np.asarray(weights, np.float32)).items()
    }
    squares = {name: value**2 for name, value in values.items()}
    sizes = layout.symbols
    scales = {name: np.ones((len(weights), sizes[name])) for name in symbols}
    relaxation = _relaxed(len(parts))
    for _ in range(SWEEPS):
        largest_change = 0.0
        for name, part in parts.items():
            incoming = _norms(squares, [(p, 0, 1) for p in part.written + part.biases])
            outgoing = _norms(squares, part.read)
            alive = (incoming > 0) & (outgoing > 0)
            ratio = np.divide(outgoing, incoming, out=np.ones_like(incoming), where=alive)
            # The norms are squared, and s scales both incoming and outgoing weights.
            step = ratio ** (0.25 * relaxation)
            scales[name] *= step
            _scale(squares, part, step**2)
            largest_change = max(largest_change, float(np.abs(step - 1).max(initial=0)))
        if largest_change < _DONE:
            break
    else:
        raise CatalogError(
            f"Balancing {', '.join(symbols)} did not converge in {SWEEPS} rounds; the last "
            f"round still changed a scale by {largest_change:.1g}. Balance fewer symbols."
        )
    return rescale(weights, layout, scales), scales


def normalise(weights: Array, layout: Layout, symbols: Sequence[str]) -> Array:
    """Rescale units so that their incoming weights and bias have norm 1.

    The networks compute the same functions if the activations are positively homogeneous.
    Unlike the result of `balance`, the result does not depend on the outgoing weights. A
    layer is normalised after the layers that it reads; units whose incoming weights and
    bias are all 0 keep their scale.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
        Networks to normalise.
    layout : Layout
        Layout of the networks.
    symbols : sequence of str
        Symbols to normalise, among those that `scalable` returns.

    Returns
    -------
    ndarray of shape (n, d)
        The normalised networks.

    Raises
    ------
    LayoutMismatch
        If the tensors of a symbol are not those of a plain layer.

    Examples
    --------
    >>> from catalog.layout import Param
    >>> into = Param("in", (1, 2), ("h", None))
    >>> layout = Layout((into, Param("out", (1, 1), (None, "h"))))
    >>> normalise(np.float32([[3, 4, 2]]), layout, ["h"]).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929, 10.0]]
    """
    parts = {name: _required(layout, name) for name in symbols}
    reads = {
        name: {
            source
            for source, source_part in parts.items()
            if {p.name for p in part.written} & {p.name for p, *_ in source_part.read}
        }
        for name, part in parts.items()
    }
    normalised = np.asarray(weights, np.float32)
    for name in TopologicalSorter(reads).static_order():
        part = parts[name]
        squares = {
            p.name: layout.unflatten(normalised)[p.name].astype(np.float64) ** 2
            for p in part.written + part.biases
        }
        norms = np.sqrt(_norms(squares, [(p, 0, 1) for p in part.written + part.biases]))
        scale = np.divide(1, norms, out=np.ones_like(norms), where=norms > 0)
        normalised = rescale(normalised, layout, {name: scale})
    return normalised


def _relaxed(depth: int) -> float:
    """Return the factor of successive over-relaxation, optimal for a chain of equal layers.

    With it, the number of rounds grows with the depth instead of with its square.
    """
    return float(2 / (1 + np.sin(np.pi / (depth + 1))))


def rescale(weights: Array, layout: Layout, scales: Mapping[str, Array]) -> Array:
    """Multiply the incoming weights and biases of units by scales, and divide the outgoing.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
        Networks to rescale.
    layout : Layout
        Layout of the networks.
    scales : mapping of str to ndarray of shape (n, size)
        Factors by symbol.

    Returns
    -------
    ndarray of shape (n, d)
        The rescaled networks.

    Raises
    ------
    LayoutMismatch
        If the tensors of a symbol are not those of a plain layer.
    """
    tensors = {
        name: tensor.astype(np.float64)
        for name, tensor in layout.unflatten(np.asarray(weights, np.float32)).items()
    }
    for name, scale in scales.items():
        _scale(tensors, _required(layout, name), np.asarray(scale, np.float64))
    return layout.flatten(tensors)


def _plain(layout: Layout, symbol: str) -> _Scalable | None:
    written: list[Param] = []
    biases: list[Param] = []
    read: list[tuple[Param, int, int]] = []
    for param in layout:
        for axis, axis_symbol in enumerate(param.axes):
            if axis_symbol is None or symbol not in read_symbol(axis_symbol)[::2]:
                continue
            name, block, inner = read_symbol(axis_symbol)
            if name != symbol or inner or param.role != "parameter":
                return None
            if axis:
                read.append((param, axis, block))
            elif block != 1:
                return None
            else:
                (biases if len(param.shape) == 1 else written).append(param)
    written_once = len(written) == 1 and len(biases) <= 1
    written_and_read = {p.name for p in written} & {p.name for p, *_ in read}
    if not written_once or not read or written_and_read:
        return None
    return _Scalable(tuple(written), tuple(biases), tuple(read))


def _required(layout: Layout, symbol: str) -> _Scalable:
    part = _plain(layout, symbol)
    if part is None:
        usable = scalable(layout)
        raise LayoutMismatch(
            f"Units of {symbol!r} cannot be rescaled: they are not the units of a plain "
            "layer, which has one weight with the symbol on its first axis, at most one "
            "bias and no normalisation. Tensors with this symbol: "
            f"{layout.carriers(symbol)}. Symbols that can be rescaled: "
            f"{', '.join(usable) or 'none'}."
        )
    return part


def _norms(squares: Mapping[str, Array], parts: Sequence[tuple[Param, int, int]]) -> Array:
    """Return the sums (n, size) of squares over all axes but one."""
    total: Array | None = None
    for param, axis, block in parts:
        value = squares[param.name]
        other_axes = tuple(i for i in range(1, value.ndim) if i != axis + 1)
        sums = value.sum(other_axes)
        sums = sums.reshape(len(sums), -1, block).sum(2)
        total = sums if total is None else total + sums
    assert total is not None
    return total


def _scale(tensors: dict[str, Array], part: _Scalable, scale: Array) -> None:
    """Multiply the tensors that write units and divide those that read them, in place."""
    for param in part.written + part.biases:
        value = tensors[param.name]
        value *= scale.reshape(*scale.shape, *[1] * (value.ndim - 2))
    for param, axis, block in part.read:
        value = tensors[param.name]
        ones = [1] * len(param.shape)
        ones[axis] = -1
        value /= np.repeat(scale, block, axis=1).reshape(len(scale), *ones)
