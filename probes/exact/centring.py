"""Centring and scaling of weights, layer by layer.

Fine-tuned networks differ from their root by a few percent, so the shared part hides the
differences: probes trained by gradient descent on raw weights may not learn at all. This
differs from the published code of ProbeX [1]_ and MVProbe, which read raw weights.

References
----------
.. [1] Kahana et al. 2024, arXiv:2410.13569.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from catalog import LayoutMismatch
from catalog.dtypes import Array
from probes.layers import Dense, Layer

Scale = Literal["global", "sample", None]
SCALES = get_args(Scale)
Root = Array | Literal["mean"] | None
BLOCK = 1 << 23
"""Number of values that are copied at once: 32 MiB of float32."""
ROUNDING = 8
"""Units in the last place of the root by which equal layers may differ, because products of
factors round differently from row to row."""


@dataclass(frozen=True)
class Centring:
    """Root that is subtracted from a layer of every network, and its divisor.

    Attributes
    ----------
    layer : Layer
        Layer that is centred.
    root : ndarray of shape (dH, dW) or None
        Matrix that is subtracted; None: nothing is subtracted.
    scale : float
        Root mean square of all centred training values. 1 without scaling, and for a layer
        that is the same in all networks, which stays zero.
    each : bool
        True if every network is divided by its own root mean square instead, unless that
        is 0.
    """

    layer: Layer
    root: Array | None
    scale: float
    each: bool

    @classmethod
    def of(
        cls, X: Array, layer: Layer, root: Any = "mean", scale: str | None = "global"
    ) -> Centring:
        """Fit the centring to training weights X (n, d), copying one block at a time.

        Parameters
        ----------
        root : {"mean"}, ndarray of shape (d,) or None, default="mean"
            Mean of these networks, or one network such as their base model. For low-rank
            updates the matrix is the product of the factors of the root.
        scale : {"global", "sample"} or None, default="global"
            One divisor for all networks, or one for each network ("cosine normalisation").

        Raises
        ------
        ValueError
            If the root or the scale is invalid.
        LayoutMismatch
            If the length of the root differs from the length of a network.
        """
        check_centring(root, scale, X.shape[1])
        squares = np.zeros(len(X))
        centre = None if root is None else np.empty(size(layer), X.dtype)
        for _, block in removed(X, layer, root, centre):
            squares += np.einsum("ij,ij->i", block, block, dtype=np.float64)
        return cls.measured(layer, centre, squares, scale)

    @classmethod
    def measured(
        cls, layer: Layer, root: Array | None, squares: Array, scale: str | None
    ) -> Centring:
        """Return the centring for the squared norms (n,) of centred networks."""
        rms = float(np.sqrt(squares.mean() / size(layer)))
        rms = rms if rms > _rounding(root) else 0.0
        return cls(
            layer,
            None if root is None else root.reshape(layer.shape),
            rms if scale == "global" and rms > 0 else 1.0,
            scale == "sample",
        )

    def apply(self, X: Array) -> Array:
        """Return centred and scaled matrices (n, dH, dW) of weights (n, d); a copy.

        Pass a block of rows if a second copy of the layer is too large.
        """
        matrices = np.array(self.layer.of(X))
        if self.root is not None:
            matrices -= self.root
        if self.each:
            flat = matrices.reshape(len(X), -1)
            squares = np.einsum("ij,ij->i", flat, flat, dtype=np.float64)
            matrices /= self.divided(squares).astype(X.dtype)[:, None, None]
        else:
            matrices /= X.dtype.type(self.scale)
        return matrices

    def divisors(self, X: Array) -> Array:
        """Return the divisor of each network (n,) after the root is subtracted."""
        squares = np.zeros(len(X))
        if self.each:
            for columns, block in column_blocks(X, self.layer):
                if self.root is not None:
                    block -= self.root.reshape(-1)[columns]
                squares += np.einsum("ij,ij->i", block, block, dtype=np.float64)
        return self.divided(squares)

    def divided(self, squares: Array) -> Array:
        """Return `divisors` from the squared norms (n,) of centred networks."""
        if not self.each:
            return np.full(len(squares), self.scale)
        rms: Array = np.sqrt(squares / size(self.layer))
        return np.where(rms > _rounding(self.root), rms, 1.0)


def _rounding(root: Array | None) -> float:
    """Return the root mean square below which a difference to the root is rounding."""
    if root is None:
        return 0.0
    rms = float(np.sqrt(np.mean(root.astype(np.float64) ** 2)))
    return ROUNDING * float(np.finfo(root.dtype).eps) * rms


def check_centring(root: Any, scale: str | None, d: int) -> None:
    """Check root and scale for `Centring.of`; d is the length of a network.

    Raises
    ------
    ValueError
        If the root or the scale is invalid.
    LayoutMismatch
        If the length of the root differs from the length of a network.
    """
    if scale not in SCALES:
        raise ValueError(f"The scale must be one of {SCALES}. Got {scale!r}.")
    if isinstance(root, str):
        if root != "mean":
            raise ValueError(
                f"The root must be 'mean', an array of one network or None. Got {root!r}."
            )
    elif root is not None:
        if np.shape(root) != (d,):
            raise LayoutMismatch(
                f"The root has shape {np.shape(root)} and a network has {d} values. Pass "
                "one row of weights, such as base.weights[0]."
            )
        if not np.isfinite(root).all():
            raise ValueError("The root holds NaN or inf.")


def size(layer: Layer) -> int:
    """Return the number of values of a matrix."""
    return layer.shape[0] * layer.shape[1]


def column_blocks(
    X: Array, layer: Layer, networks: int | None = None
) -> Iterator[tuple[slice, Array]]:
    """Yield the columns and the copied block (n, c) of the flattened matrices.

    Products of low-rank updates are formed one block at a time. Blocks of two sets of
    networks have the same columns if ``networks`` is the larger number in both calls.
    """
    rows, width = layer.shape
    step = max(BLOCK // max(networks or len(X), 1), 1)
    if isinstance(layer, Dense):
        for start in range(0, rows * width, step):
            columns = slice(start, min(start + step, rows * width))
            first = layer.start + start
            yield columns, np.array(X[:, first : layer.start + columns.stop])
        return
    step = max(step // width, 1)
    up, down = layer.up.of(X), layer.down.of(X)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        product = up[:, start:stop] @ down
        yield slice(start * width, stop * width), product.reshape(len(X), -1)


def removed(
    X: Array, layer: Layer, root: Any, found: Array | None
) -> Iterator[tuple[slice, Array]]:
    """Yield centred `column_blocks`, and write the root to ``found`` (dH * dW,)."""
    root_values = None
    if root is not None and not isinstance(root, str):
        root_values = layer.of(np.asarray(root, X.dtype)[None]).reshape(-1)
    for columns, block in column_blocks(X, layer):
        if found is not None:
            # Subtract the first network before the mean, so that sums round less.
            found[columns] = block[0] if root_values is None else root_values[columns]
            block -= found[columns]
            if root_values is None:
                mean = block.mean(0)
                found[columns] += mean
                block -= mean
        yield columns, block
