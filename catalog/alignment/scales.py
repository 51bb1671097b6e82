"""Scale symmetry of rectified units: weights in times s, weights out divided by s.

A unit whose activation is positively homogeneous, ``f(s x) = s f(x)`` for s > 0 (ReLU,
leaky ReLU, none), computes the same at every such scale. Balanced, the norm of what it
reads equals the norm of how it is read: the point of least norm on its orbit [1]_. A
layout does not know activations: who asks for scales vouches for them, or has them checked
by `check_symmetries`.

References
----------
.. [1] Saul, 2023, arXiv:2306.15793: the least p-norm among the networks that a rescaling
   reaches. Differs: p = 2 only.
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
"""Most rounds over all symbols: deep chains of layers take hundreds."""
_DONE = 1e-9
"""Relative step of a scale below which it stands: rounds shrink errors slowly in chains."""


@dataclass(frozen=True)
class _Scalable:
    """Where the units of a symbol are written, with one bias at most, and read."""

    written: tuple[Param, ...]
    biases: tuple[Param, ...]
    read: tuple[tuple[Param, int, int], ...]


def scalable(layout: Layout) -> tuple[str, ...]:
    """Symbols that have the tensors of a plain layer: written once, then read.

    One weight has the symbol on its first axis, one vector at most (its bias) carries it,
    and the rest read it on other axes. Symbols of normalised layers and residual streams
    have more. Whether the units are rectified is not seen.

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
    """Networks of least norm that compute the same, if the units are homogeneous.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
    symbols : sequence of str
        Of those that `scalable` names.

    Returns
    -------
    weights : ndarray of shape (n, d), float32
    scales : dict of str to ndarray of shape (n, size), float64
        What each unit's incoming weights and bias were multiplied by. 1 for units that
        nothing writes or nothing reads.

    Raises
    ------
    LayoutMismatch
        If a symbol has other tensors than those of a plain layer.
    CatalogError
        If scales do not settle.
    """
    parts = {name: _required(layout, name) for name in symbols}
    values = {
        name: np.asarray(tensor, np.float64)
        for name, tensor in layout.unflatten(np.asarray(weights, np.float32)).items()
    }
    squares = {name: value**2 for name, value in values.items()}
    sizes = layout.symbols
    scales = {name: np.ones((len(weights), sizes[name])) for name in symbols}
    over = _relaxed(len(parts))
    for _ in range(SWEEPS):
        worst = 0.0
        for name, part in parts.items():
            into = _norms(squares, [(p, 0, 1) for p in part.written + part.biases])
            out = _norms(squares, part.read)
            alive = (into > 0) & (out > 0)
            ratio = np.divide(out, into, out=np.ones_like(into), where=alive)
            step = ratio ** (0.25 * over)  # squared norms; s times in, 1 / s times out
            scales[name] *= step
            _scale(squares, part, step**2)
            worst = max(worst, float(np.abs(step - 1).max(initial=0)))
        if worst < _DONE:
            break
    else:
        raise CatalogError(
            f"Balancing {', '.join(symbols)} did not settle in {SWEEPS} rounds; the last "
            f"one still changed a scale by {worst:.1g}. Balance fewer symbols."
        )
    return rescale(weights, layout, scales), scales


def normalise(weights: Array, layout: Layout, symbols: Sequence[str]) -> Array:
    """Networks (n, d) with incoming weights and bias of norm 1, which compute the same.

    Unlike what `balance` gives, that does not depend on what reads the units. Those that
    others are made of come first; units that nothing writes keep their scale.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
    symbols : sequence of str
        Of those that `scalable` names.

    Raises
    ------
    LayoutMismatch
        If a symbol has other tensors than those of a plain layer.

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
            other
            for other, their in parts.items()
            if {p.name for p in part.written} & {p.name for p, *_ in their.read}
        }
        for name, part in parts.items()
    }
    found = np.asarray(weights, np.float32)
    for name in TopologicalSorter(reads).static_order():
        part = parts[name]
        squares = {
            p.name: layout.unflatten(found)[p.name].astype(np.float64) ** 2
            for p in part.written + part.biases
        }
        norms = np.sqrt(_norms(squares, [(p, 0, 1) for p in part.written + part.biases]))
        scale = np.divide(1, norms, out=np.ones_like(norms), where=norms > 0)
        found = rescale(found, layout, {name: scale})
    return found


def _relaxed(depth: int) -> float:
    """How far each step goes beyond its own optimum: best for a chain of equal layers.

    Successive over-relaxation: rounds go as the depth, not as its square.
    """
    return float(2 / (1 + np.sin(np.pi / (depth + 1))))


def rescale(weights: Array, layout: Layout, scales: Mapping[str, Array]) -> Array:
    """Multiply what writes units by scales (n, size), and divide what reads them.

    Raises
    ------
    LayoutMismatch
        As `balance`.
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
        for axis, found in enumerate(param.axes):
            if found is None or symbol not in read_symbol(found)[::2]:
                continue
            name, block, inner = read_symbol(found)
            if name != symbol or inner or param.role != "parameter":
                return None
            if axis:
                read.append((param, axis, block))
            elif block != 1:
                return None
            else:
                (biases if len(param.shape) == 1 else written).append(param)
    once = len(written) == 1 and len(biases) <= 1
    twice = {p.name for p in written} & {p.name for p, *_ in read}
    if not once or not read or twice:
        return None
    return _Scalable(tuple(written), tuple(biases), tuple(read))


def _required(layout: Layout, symbol: str) -> _Scalable:
    part = _plain(layout, symbol)
    if part is None:
        known = scalable(layout)
        raise LayoutMismatch(
            f"Units of {symbol!r} cannot be rescaled: they are not those of a plain layer, "
            "which one weight writes on its first axis, with one bias at most and no "
            f"normalisation. It is carried by {layout.carriers(symbol)}. Symbols that can: "
            f"{', '.join(known) or 'none'}."
        )
    return part


def _norms(squares: Mapping[str, Array], parts: Sequence[tuple[Param, int, int]]) -> Array:
    """Sums (n, size) over all but one axis."""
    total: Array | None = None
    for param, axis, block in parts:
        value = squares[param.name]
        other = tuple(i for i in range(1, value.ndim) if i != axis + 1)
        found = value.sum(other)
        found = found.reshape(len(found), -1, block).sum(2)
        total = found if total is None else total + found
    assert total is not None
    return total


def _scale(tensors: dict[str, Array], part: _Scalable, scale: Array) -> None:
    """In place: multiply what writes, divide what reads."""
    for param in part.written + part.biases:
        value = tensors[param.name]
        value *= scale.reshape(*scale.shape, *[1] * (value.ndim - 2))
    for param, axis, block in part.read:
        value = tensors[param.name]
        ones = [1] * len(param.shape)
        ones[axis] = -1
        value /= np.repeat(scale, block, axis=1).reshape(len(scale), *ones)
