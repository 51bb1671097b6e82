"""Where the matrices of networks lie in their weight vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from catalog import Layout, LayoutMismatch, NotFound
from catalog.dtypes import Array
from catalog.errors import closest

PAIRS = (("lora_B", "lora_A"), ("lora.up", "lora.down"), ("lora_up", "lora_down"))
"""How tensors (dH, r) and (r, dW) of a low-rank update are called by peft and diffusers."""


@dataclass(frozen=True)
class Dense:
    """One tensor of every network, as a matrix.

    A convolution (out, in, h, w) becomes (out, in * h * w): rows are filters. A vector
    becomes one row.

    Attributes
    ----------
    name : str
    start : int
        First of its columns in the weight vector.
    shape : tuple of int
        (dH, dW) in [1]_: outputs, inputs.

    References
    ----------
    .. [1] Kahana et al. 2024, arXiv:2410.13569. The published code reshapes filters of
       convolutions so that rows mix them; here they do not.
    """

    name: str
    start: int
    shape: tuple[int, int]

    @property
    def columns(self) -> slice:
        """Its columns in a weight vector."""
        return slice(self.start, self.start + math.prod(self.shape))

    def of(self, X: Array) -> Array:
        """The matrices (n, dH, dW) of weights (n, d); a view."""
        return X[:, self.columns].reshape(len(X), *self.shape)


@dataclass(frozen=True)
class LowRank:
    """A matrix ``up @ down`` of which networks hold the factors (LoRA).

    Attributes
    ----------
    name : str
        What the names of the two factors share.
    up, down : Dense
        Of shapes (dH, r) and (r, dW).
    """

    name: str
    up: Dense
    down: Dense

    @property
    def shape(self) -> tuple[int, int]:
        """(dH, dW) of the product."""
        return self.up.shape[0], self.down.shape[1]

    @property
    def rank(self) -> int:
        """R of the factors."""
        return self.down.shape[0]

    def of(self, X: Array) -> Array:
        """The products (n, dH, dW); formed, so take few networks at once."""
        product: Array = self.up.of(X) @ self.down.of(X)
        return product


Layer = Dense | LowRank


def layers_of(layout: Layout, *, vectors: bool = False) -> tuple[Layer, ...]:
    """The matrices of a layout, in its order; factors of low-rank updates in pairs.

    Parameters
    ----------
    layout : Layout
    vectors : bool, default=False
        Also tensors of one axis or none, as one row.

    Examples
    --------
    >>> from catalog import Param
    >>> [layer.shape for layer in layers_of(Layout((Param("conv", (8, 3, 3, 3)),)))]
    [(8, 27)]
    """
    slices, shapes = layout.slices, {p.name: p.shape for p in layout if p.in_vector}

    def dense(name: str) -> Dense:
        shape = shapes[name]
        rows = shape[0] if len(shape) > 1 else 1
        return Dense(name, slices[name].start, (rows, math.prod(shape) // max(rows, 1)))

    found: list[Layer] = []
    for name, shape in shapes.items():
        if not math.prod(shape) or (len(shape) < 2 and not vectors):
            continue
        partner = _partner(name, shapes)
        if partner is None:
            found.append(dense(name))
        elif partner[1]:
            up = name
            down = partner[0]
            found.append(LowRank(_shared(up), dense(up), dense(down)))
    return tuple(found)


def chosen_layers(
    layout: Layout | None, names: str | Sequence[str] | None, d: int
) -> tuple[Layer, ...]:
    """The layers a probe reads.

    Parameters
    ----------
    layout : Layout or None
        None: the weights are one row of d values.
    names : str, sequence of str or None
        Tensors of the layout, or names that both factors share; None: all matrices.

    Raises
    ------
    LayoutMismatch
        If the layout has another d, or no matrix.
    NotFound
        If there is no such tensor, with the closest names.
    """
    if layout is None:
        if names is not None:
            raise LayoutMismatch(
                f"The layer {names!r} was asked for, but nothing says where it lies. Pass "
                "layout=population.layout."
            )
        return (Dense("", 0, (1, d)),)
    if layout.d != d:
        raise LayoutMismatch(
            f"The layout {layout.id} has d = {layout.d} values and X has {d} columns. Pass "
            "layout=population.layout of the same population as X."
        )
    if names is None:
        found = layers_of(layout) or layers_of(layout, vectors=True)
        if not found:
            raise LayoutMismatch("The layout has no tensor with values to learn from.")
        return found
    known = {layer.name: layer for layer in layers_of(layout, vectors=True)}
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in known:
            raise NotFound(f"No tensor {name!r} in the layout. {closest(name, known)}")
    return tuple(known[name] for name in wanted)


def alone(layer: Layer) -> Layer:
    """The same layer where X holds nothing else; see `layer_matrix`."""
    if isinstance(layer, Dense):
        return replace(layer, start=0)
    up = replace(layer.up, start=0)
    return replace(layer, up=up, down=replace(layer.down, start=math.prod(up.shape)))


def layer_matrix(X: Array, layer: Layer) -> Array:
    """The values (n, c) of one layer: a view, or both factors side by side."""
    if isinstance(layer, Dense):
        return X[:, layer.columns]
    return np.concatenate((X[:, layer.up.columns], X[:, layer.down.columns]), axis=1)


def _partner(name: str, shapes: dict[str, tuple[int, ...]]) -> tuple[str, bool] | None:
    """The other factor of a low-rank pair, and whether ``name`` is the first one."""
    for up, down in PAIRS:
        for mine, other in ((up, down), (down, up)):
            partner = name.replace(mine, other)
            if mine in name and partner in shapes:
                first, last = (name, partner) if mine == up else (partner, name)
                flat = len(shapes[first]) == len(shapes[last]) == 2
                if flat and shapes[first][1] == shapes[last][0]:
                    return partner, mine == up
    return None


def _shared(up: str) -> str:
    """The name of a pair: that of the first factor without its mark."""
    for mark, _ in PAIRS:
        for whole in (f".{mark}", mark):
            if whole in up:
                return up.replace(whole, "")
    return up


def finite(X: Array) -> None:
    """Refuse weights that are not finite.

    Raises
    ------
    ValueError
        Saying how many networks, and which first.
    """
    good = np.isfinite(X).all(1)
    if not good.all():
        bad = np.flatnonzero(~good)
        raise ValueError(
            f"{len(bad)} of {len(X)} networks hold NaN or inf, the first in row {bad[0]}. "
            "Leave them out: X[np.isfinite(X).all(1)]."
        )
