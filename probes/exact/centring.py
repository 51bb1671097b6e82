"""The root and the scale of weights, taken away layer by layer.

Fine-tuned networks differ from their root by a few percent, so that what they share hides
what tells them apart: probes trained by gradient descent on raw weights may not learn at
all. Differs from the published code of ProbeX [1]_ and MVProbe, which read raw weights.

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
"""Values that are copied at once: 32 MiB of float32."""
ROUNDING = 8
"""Units in the last place of the root by which equal layers may differ: products of factors
round differently from row to row."""


@dataclass(frozen=True)
class Centring:
    """What is subtracted from a layer of every network, and what it is divided by.

    Attributes
    ----------
    layer : Layer
    root : ndarray of shape (dH, dW) or None
        None: nothing is subtracted.
    scale : float
        Root mean square of all centred training values; 1 where nothing is divided, and
        for a layer that is the same in all networks, which stays zero.
    each : bool
        Every network is divided by its own root mean square instead, unless that is 0.
    """

    layer: Layer
    root: Array | None
    scale: float
    each: bool

    @classmethod
    def of(
        cls, X: Array, layer: Layer, root: Any = "mean", scale: str | None = "global"
    ) -> Centring:
        """Learn it from training weights X (n, d), of which one block is copied at once.

        Parameters
        ----------
        root : {"mean"}, ndarray of shape (d,) or None, default="mean"
            Mean of these networks, or one network such as their base model; of low-rank
            updates the matrix is the product of the root's factors.
        scale : {"global", "sample"} or None, default="global"
            One number for all networks, or one for each ("cosine normalisation").

        Raises
        ------
        ValueError
            If there is no such root or scale.
        LayoutMismatch
            If the root has another length than a network.
        """
        check_centring(root, scale, X.shape[1])
        squares = np.zeros(len(X))
        found = None if root is None else np.empty(size(layer), X.dtype)
        for _, block in removed(X, layer, root, found):
            squares += np.einsum("ij,ij->i", block, block, dtype=np.float64)
        return cls.measured(layer, found, squares, scale)

    @classmethod
    def measured(
        cls, layer: Layer, root: Array | None, squares: Array, scale: str | None
    ) -> Centring:
        """From the squared norms (n,) of centred networks."""
        rms = float(np.sqrt(squares.mean() / size(layer)))
        rms = rms if rms > _rounding(root) else 0.0
        return cls(
            layer,
            None if root is None else root.reshape(layer.shape),
            rms if scale == "global" and rms > 0 else 1.0,
            scale == "sample",
        )

    def apply(self, X: Array) -> Array:
        """Centred and scaled matrices (n, dH, dW) of weights (n, d); a copy.

        Pass a block of rows where a second copy of the layer is too large.
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
        """What each network (n,) is divided by once the root is gone."""
        squares = np.zeros(len(X))
        if self.each:
            for columns, block in column_blocks(X, self.layer):
                if self.root is not None:
                    block -= self.root.reshape(-1)[columns]
                squares += np.einsum("ij,ij->i", block, block, dtype=np.float64)
        return self.divided(squares)

    def divided(self, squares: Array) -> Array:
        """`divisors` from the squared norms (n,) of centred networks."""
        if not self.each:
            return np.full(len(squares), self.scale)
        rms: Array = np.sqrt(squares / size(self.layer))
        return np.where(rms > _rounding(self.root), rms, 1.0)


def _rounding(root: Array | None) -> float:
    """Root mean square below which what is left of a root is rounding, not a difference."""
    if root is None:
        return 0.0
    own = float(np.sqrt(np.mean(root.astype(np.float64) ** 2)))
    return ROUNDING * float(np.finfo(root.dtype).eps) * own


def check_centring(root: Any, scale: str | None, d: int) -> None:
    """Refuse what `Centring.of` does not know; d is the length of a network.

    Raises
    ------
    ValueError
        If there is no such root or scale.
    LayoutMismatch
        If the root has another length than a network.
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
    """Number of values of a matrix."""
    return layer.shape[0] * layer.shape[1]


def column_blocks(
    X: Array, layer: Layer, networks: int | None = None
) -> Iterator[tuple[slice, Array]]:
    """Column blocks (n, c) of the flattened matrices, each a copy, and where they lie.

    Products of low-rank updates are formed a block at a time. Blocks of two sets of
    networks fit together when ``networks`` is the larger number for both.
    """
    rows, columns = layer.shape
    step = max(BLOCK // max(networks or len(X), 1), 1)
    if isinstance(layer, Dense):
        for start in range(0, rows * columns, step):
            at = slice(start, min(start + step, rows * columns))
            first = layer.start + start
            yield at, np.array(X[:, first : layer.start + at.stop])
        return
    step = max(step // columns, 1)
    up, down = layer.up.of(X), layer.down.of(X)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        product = up[:, start:stop] @ down
        yield slice(start * columns, stop * columns), product.reshape(len(X), -1)


def removed(
    X: Array, layer: Layer, root: Any, found: Array | None
) -> Iterator[tuple[slice, Array]]:
    """Yield `column_blocks` without their root, written to ``found`` (dH * dW,)."""
    given = None
    if root is not None and not isinstance(root, str):
        given = layer.of(np.asarray(root, X.dtype)[None]).reshape(-1)
    for columns, block in column_blocks(X, layer):
        if found is not None:
            # First the first network: what all share is gone before sums round.
            found[columns] = block[0] if given is None else given[columns]
            block -= found[columns]
            if given is None:
                mean = block.mean(0)
                found[columns] += mean
                block -= mean
        yield columns, block
