"""Whether a layout's symmetries are those of the network: asked of the network itself.

A symbol may be wrong, or be missing on a tensor, above all where it was inferred for an
import. The catalogue runs no networks, so the caller brings a function from weights to
outputs; every symbol is permuted at random, and the outputs must stay.
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
"""Outputs (m, ...) of networks (m, d), float32, each for the same inputs."""

TOLERANCE = 1e-5
"""Largest change that counts as rounding, in parts of a network's largest output."""
_NETWORKS = 2
_MOVED = 0.1
"""How far the networks are moved at random, in parts of their root mean square."""


class SymmetryBroken(CatalogError):
    """A symbol of a layout changes what networks compute.

    Attributes
    ----------
    symbol : str
    tensors : list of str
        Those that carry it.
    change : float
        Of the outputs, in parts of the largest.
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
    """Check that permuting each symbol, and rescaling some, keeps the outputs.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
        Networks; two drawn by the seed are tried as they are and moved a little at
        random, so that no error hides behind zeros. Counters and constants are not in
        the vector: what symbols of theirs do cannot be seen. Every unit changes its
        place. Give trained ones: where activations grow from layer to layer, as with
        running statistics that do not fit the weights, late biases change the outputs
        less than rounding does.
    outputs : callable
        Outputs (m, ...) of networks (m, d) for inputs that are the same at every call,
        without dropout; some tens of inputs do.
    scaled : sequence of str, optional
        Symbols of rectified units, see `balance`.
    tolerance : float, default=1e-5
        In parts of each network's largest output.
    seed : int, default=0

    Returns
    -------
    dict of str to float
        Largest change by symbol; scales under ``"scale of <symbol>"``.

    Raises
    ------
    SymmetryBroken
        If the outputs change; it names the symbol and the tensors that carry it.
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
            "Some networks give 0 for all inputs, so nothing can be checked with them: "
            "give other weights or inputs."
        )
    if (before == before[:1]).all():
        raise LayoutMismatch(
            "The outputs are the same for all networks: they do not depend on the weights "
            "that outputs(weights) is given, so nothing can be checked."
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
    found = np.asarray(outputs(weights), np.float64)
    if found.ndim < 1 or len(found) != len(weights) or not found.size:
        raise LayoutMismatch(
            f"outputs(weights) must give one row per network: of weights "
            f"{weights.shape} it gave shape {found.shape}."
        )
    if not np.isfinite(found).all():
        raise LayoutMismatch(
            "outputs(weights) gave values that are not finite; give finite networks first."
        )
    return found.reshape(len(found), -1)


def _broken(layout: Layout, name: str, change: float, what: str) -> SymmetryBroken:
    tensors = layout.carriers(name)
    shown = ", ".join(tensors[:8]) + (", ..." if len(tensors) > 8 else "")
    if what.startswith("Permuting"):
        advice = (
            "The symbol is wrong, or a tensor lacks it. Give the layout right axes, or "
            "None on these."
        )
    else:
        rest = [s for s in scalable(layout) if s != name]
        advice = (
            "They are not rectified (f(s x) = s f(x) for s > 0). Pass balance=False, or "
            f"those of {rest} that are."
        )
    return SymmetryBroken(
        f"{what} of {name!r} changes the outputs by {change:.2g} of the largest. It is "
        f"carried by {shown}. {advice}",
        name,
        tensors,
        change,
    )


def _moved(weights: Array, layout: Layout, rng: np.random.Generator) -> Array:
    """Copies with other parameters; buffers, which may not change sign, by a factor.

    Of buffers also what is 0, such as means before the first step: else it would stay.
    """
    moved = weights.copy()
    for name, columns in layout.slices.items():
        part = moved[:, columns]
        noise = rng.standard_normal(part.shape, np.float32)
        if layout[name].role == "buffer":
            grown = part * np.exp(np.float32(_MOVED) * noise)
            part[:] = np.where(part == 0, np.float32(_MOVED) * np.abs(noise), grown)
        else:
            size = np.sqrt((weights**2).mean(1, keepdims=True))
            part += np.float32(_MOVED) * size * noise
    return moved


def _cycles(
    layout: Layout, name: str, size: int, n: int, rng: np.random.Generator
) -> dict[str, Array] | None:
    """Orders that leave no unit in place; None if there is one unit."""
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
    """A permutation of one cycle."""
    ring = rng.permutation(size)
    order: Array = np.empty(size, np.int64)
    order[ring] = np.roll(ring, 1)
    return order
