"""Matrices of networks and their position in weight vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from catalog import Layout, LayoutMismatch, NotFound
from catalog.dtypes import Array
from catalog.errors import closest

PAIRS = (("lora_B", "lora_A"), ("lora.up", "lora.down"), ("lora_up", "lora_down"))
"""Names that peft and diffusers give the factors (dH, r) and (r, dW) of an update."""


@dataclass(frozen=True)
class Dense:
    """One tensor of every network, read as a matrix.

    A convolution (out, in, h, w) becomes (out, in * h * w), with one filter per row. A
    vector becomes one row.

    Attributes
    ----------
    name : str
        Name of the tensor.
    start : int
        First column of the tensor in the weight vector.
    shape : tuple of int
        Outputs and inputs; (dH, dW) in [1]_.

    References
    ----------
    .. [1] Kahana et al. 2024, arXiv:2410.13569. The published code reshapes filters of
       convolutions so that a row mixes filters; here a row is one filter.
    """

    name: str
    start: int
    shape: tuple[int, int]

    @property
    def columns(self) -> slice:
        """Columns of the tensor in a weight vector."""
        return slice(self.start, self.start + math.prod(self.shape))

    def of(self, X: Array) -> Array:
        """Return the matrices (n, dH, dW) of weights (n, d); a view."""
        return X[:, self.columns].reshape(len(X), *self.shape)


@dataclass(frozen=True)
class LowRank:
    """Matrix ``up @ down`` whose factors the networks hold (LoRA).

    Attributes
    ----------
    name : str
        Name that the two factors share.
    up, down : Dense
        Factors of shapes (dH, r) and (r, dW).
    """

    name: str
    up: Dense
    down: Dense

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (dH, dW) of the product."""
        return self.up.shape[0], self.down.shape[1]

    @property
    def rank(self) -> int:
        """Rank r of the factors."""
        return self.down.shape[0]

    def of(self, X: Array) -> Array:
        """Compute the products (n, dH, dW) in memory; pass few networks at once."""
        product: Array = self.up.of(X) @ self.down.of(X)
        return product


Layer = Dense | LowRank


def layers_of(layout: Layout, *, vectors: bool = False) -> tuple[Layer, ...]:
    """Return the matrices of a layout in order, with factors of low-rank updates paired.

    Parameters
    ----------
    layout : Layout
        Layout of one network.
    vectors : bool, default=False
        Include tensors of one axis or none, each as one row.

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

    layers: list[Layer] = []
    for name, shape in shapes.items():
        if not math.prod(shape) or (len(shape) < 2 and not vectors):
            continue
        partner = _partner(name, shapes)
        if partner is None:
            layers.append(dense(name))
        elif partner[1]:
            up = name
            down = partner[0]
            layers.append(LowRank(_shared(up), dense(up), dense(down)))
    return tuple(layers)


def chosen_layers(
    layout: Layout | None, names: str | Sequence[str] | None, d: int
) -> tuple[Layer, ...]:
    """Return the layers that a probe reads.

    Parameters
    ----------
    layout : Layout or None
        None: the weights of a network are one row of d values.
    names : str, sequence of str or None
        Names of tensors of the layout, or names that two factors share. None: all
        matrices.

    Raises
    ------
    LayoutMismatch
        If the d of the layout differs, or the layout has no tensor with values.
    NotFound
        If there is no such tensor; the message lists the closest names.
    """
    if layout is None:
        if names is not None:
            raise LayoutMismatch(
                f"Layer {names!r} cannot be located in the weights without a layout. Pass "
                "layout=population.layout."
            )
        return (Dense("", 0, (1, d)),)
    if layout.d != d:
        raise LayoutMismatch(
            f"The layout {layout.id} has d = {layout.d} values and X has {d} columns. Pass "
            "layout=population.layout of the same population as X."
        )
    if names is None:
        layers = layers_of(layout) or layers_of(layout, vectors=True)
        if not layers:
            raise LayoutMismatch("The layout has no tensor with values to learn from.")
        return layers
    known = {layer.name: layer for layer in layers_of(layout, vectors=True)}
    selected = [names] if isinstance(names, str) else list(names)
    for name in selected:
        if name not in known:
            raise NotFound(f"No tensor {name!r} in the layout. {closest(name, known)}")
    return tuple(known[name] for name in selected)


def alone(layer: Layer) -> Layer:
    """Return the same layer for an X that holds only this layer; see `layer_matrix`."""
    if isinstance(layer, Dense):
        return replace(layer, start=0)
    up = replace(layer.up, start=0)
    return replace(layer, up=up, down=replace(layer.down, start=math.prod(up.shape)))


def layer_matrix(X: Array, layer: Layer) -> Array:
    """Return the values (n, c) of one layer: a view, or both factors side by side."""
    if isinstance(layer, Dense):
        return X[:, layer.columns]
    return np.concatenate((X[:, layer.up.columns], X[:, layer.down.columns]), axis=1)


def _partner(name: str, shapes: dict[str, tuple[int, ...]]) -> tuple[str, bool] | None:
    """Return the other factor of a low-rank pair, and whether ``name`` is the first."""
    for up, down in PAIRS:
        for own_mark, other_mark in ((up, down), (down, up)):
            partner = name.replace(own_mark, other_mark)
            if own_mark in name and partner in shapes:
                up_name, down_name = (name, partner) if own_mark == up else (partner, name)
                both_matrices = len(shapes[up_name]) == len(shapes[down_name]) == 2
                if both_matrices and shapes[up_name][1] == shapes[down_name][0]:
                    return partner, own_mark == up
    return None


def _shared(up: str) -> str:
    """Return the name of a pair: the name of its first factor without the mark."""
    for mark, _ in PAIRS:
        for part in (f".{mark}", mark):
            if part in up:
                return up.replace(part, "")
    return up


def finite(X: Array) -> None:
    """Check that all weights are finite.

    Raises
    ------
    ValueError
        If weights are not finite; the message counts the networks and names the first.
    """
    is_finite = np.isfinite(X).all(1)
    if not is_finite.all():
        bad_rows = np.flatnonzero(~is_finite)
        raise ValueError(
            f"{len(bad_rows)} of {len(X)} networks hold NaN or inf, the first in row "
            f"{bad_rows[0]}. "
            "Leave these rows out: X[np.isfinite(X).all(1)]."
        )
