"""Test of a layout's symmetries on the outputs of networks.

A symbol may be wrong or missing on a tensor, above all if it was inferred for an import.
The catalogue runs no networks, so the caller passes a function from weights to outputs. The
units of every symbol are permuted at random, and the outputs must stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from catalog.alignment.permutation import known_symbol, permute
from catalog.alignment.scales import rescale, scalable
from catalog.dtypes import Array
from catalog.errors import CatalogError, LayoutMismatch
from catalog.layout import Layout

Outputs: TypeAlias = Callable[[Array], Array]
"""Function from networks (m, d), float32, to their outputs (m, ...) for fixed inputs."""

TOLERANCE = 1e-5
"""Largest change that is ascribed to rounding, relative to a network's largest output."""
_NETWORKS = 2
_MOVED = 0.1
"""Size of the random change of the networks, relative to their root mean square."""


class SymmetryBroken(CatalogError):
    """Error of a symbol of a layout that is no symmetry of the networks.

    Attributes
    ----------
    symbol : str
        Name of the symbol.
    tensors : list of str
        Names of the tensors that carry the symbol.
    change : float
        Change of the outputs, relative to the largest output.
    """

    def __init__(self, message: str, symbol: str, tensors: list[str], change: float):
        super().__init__(message)
        self.symbol, self.tensors, self.change = symbol, tensors, change


def check_symmetries(
    weights: Array,
    layout: Layout,
    outputs: Outputs,
    *,
    scaled: Sequence[str] = (),
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> dict[str, float]:
    """Check that permuting the units of each symbol, and rescaling some, keeps the outputs.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
        Networks. Two of them, drawn with the seed, are tested as they are and with small
        random changes, so that no error hides behind zeros. In every test, every unit
        changes its place. Counters and constants are not part of the weights, so their
        symbols cannot be tested. Give trained networks: if activations grow from layer
        to layer, as with running statistics that do not fit the weights, the biases of
        late layers change the outputs less than rounding does.
    layout : Layout
        Layout of the networks.
    outputs : callable
        Function from networks (m, d) to outputs (m, ...), without dropout and for the same
        inputs at every call; a few dozen inputs suffice.
    scaled : sequence of str, optional
        Symbols of rectified units to rescale too, see `balance`.
    tolerance : float, default=1e-5
        Largest accepted change, relative to each network's largest output.
    seed : int, default=0
        Seed of the choice of networks, their changes, and the permutations and scales.

    Returns
    -------
    dict of str to float
        Largest change by symbol; changes by rescaling under ``"scale of <symbol>"``.

    Raises
    ------
    SymmetryBroken
        If the outputs change. The error names the symbol and the tensors that carry it.
    LayoutMismatch
        If the outputs are not finite, or do not depend on the weights at all.
    """
    weights = np.atleast_2d(np.asarray(weights, np.float32))
    if not len(weights):
        raise LayoutMismatch("Nothing to check: give the weights of a network.")
    for name in scaled:
        known_symbol(layout, name)
    rng = np.random.default_rng(seed)
    if len(weights) > _NETWORKS:
        weights = weights[rng.choice(len(weights), _NETWORKS, replace=False)]
    tried = np.concatenate([weights, _moved(weights, layout, rng)])
    before = _called(outputs, tried)
    largest = np.abs(before).max(1)
    if not (largest > 0).all():
        raise LayoutMismatch(
            "Some networks give 0 for all inputs, so their symmetries cannot be checked: "
            "give other weights or inputs."
        )
    if (before == before[:1]).all():
        raise LayoutMismatch(
            "The outputs are the same for all networks, so they do not depend on the "
            "weights that are passed to outputs(weights), and no symmetry can be checked."
        )
    changes = {}
    for name, size in layout.symbols.items():
        order = _cycles(layout, name, size, len(tried), rng)
        if order is None:
            continue
        after = _called(outputs, permute(tried, order, layout))
        change = float((np.abs(after - before).max(1) / largest).max())
        if not change <= tolerance:
            raise _broken(layout, name, change, "Permuting the units")
        changes[name] = change
    for name in scaled:
        factors = np.exp(rng.uniform(-0.7, 0.7, (len(tried), layout.symbols[name])))
        after = _called(outputs, rescale(tried, layout, {name: factors}))
        change = float((np.abs(after - before).max(1) / largest).max())
        if not change <= tolerance:
            raise _broken(layout, name, change, "Rescaling the units")
        changes[f"scale of {name}"] = change
    return changes


def _called(outputs: Outputs, weights: Array) -> Array:
    values = np.asarray(outputs(weights), np.float64)
    if values.ndim < 1 or len(values) != len(weights) or not values.size:
        raise LayoutMismatch(
            f"outputs(weights) must return one row per network. For weights of shape "
            f"{weights.shape} it returned shape {values.shape}."
        )
    if not np.isfinite(values).all():
        raise LayoutMismatch(
            "outputs(weights) returned values that are not finite; give finite networks."
        )
    return values.reshape(len(values), -1)


def _broken(layout: Layout, name: str, change: float, action: str) -> SymmetryBroken:
    tensors = layout.carriers(name)
    tensor_names = ", ".join(tensors[:8]) + (", ..." if len(tensors) > 8 else "")
    if action.startswith("Permuting"):
        advice = (
            "The symbol is wrong, or missing on a tensor. Correct the axes of the layout, "
            "or set the axes of these tensors to None."
        )
    else:
        other_symbols = [s for s in scalable(layout) if s != name]
        advice = (
            "The units are not rectified (f(s x) = s f(x) for s > 0). Pass balance=False, "
            f"or those of {other_symbols} that are rectified."
        )
    return SymmetryBroken(
        f"{action} of {name!r} changes the outputs by {change:.2g} of the largest "
        f"output. Tensors with this symbol: {tensor_names}. {advice}",
        name,
        tensors,
        change,
    )


def _moved(weights: Array, layout: Layout, rng: np.random.Generator) -> Array:
    """Return copies with randomly changed parameters and buffers.

    Buffers, which may not change sign, are multiplied by a factor. Zeros in buffers, such
    as means before the first step, become positive, since a factor would not change them.
    """
    moved = weights.copy()
    for name, columns in layout.slices.items():
        part = moved[:, columns]
        noise = rng.standard_normal(part.shape, np.float32)
        if layout[name].role == "buffer":
            scaled = part * np.exp(np.float32(_MOVED) * noise)
            part[:] = np.where(part == 0, np.float32(_MOVED) * np.abs(noise), scaled)
        else:
            rms = np.sqrt((weights**2).mean(1, keepdims=True))
            part += np.float32(_MOVED) * rms * noise
    return moved


def _cycles(
    layout: Layout, name: str, size: int, n: int, rng: np.random.Generator
) -> dict[str, Array] | None:
    """Draw orders that leave no unit in place; None for a single unit."""
    homes = layout.homes
    if name not in homes:
        if size < 2:
            return None
        return {name: np.stack([_cycle(size, rng) for _ in range(n)])}
    _, block = homes[name]
    if block < 2:
        return None
    rows = [
        np.concatenate([h * block + _cycle(block, rng) for h in range(size // block)])
        for _ in range(n)
    ]
    return {name: np.stack(rows)}


def _cycle(size: int, rng: np.random.Generator) -> Array:
    """Draw a permutation that consists of one cycle."""
    ring = rng.permutation(size)
    order: Array = np.empty(size, np.int64)
    order[ring] = np.roll(ring, 1)
    return order
