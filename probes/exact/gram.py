"""Inner products between networks, one layer at a time.

Every exact probe needs no more than these n x n numbers. They are summed in float64 over
column blocks in the precision of the weights, so that no second copy of a layer is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from catalog.dtypes import Array
from probes.exact.centring import (
    BLOCK,
    Centring,
    check_centring,
    column_blocks,
    removed,
    size,
)
from probes.layers import Layer, LowRank


def gram(
    X: Array, layer: Layer, root: Any = "mean", scale: str | None = "global"
) -> tuple[Array, Centring]:
    """Inner products (n, n) float64 of centred and scaled networks, and the centring.

    Beyond its result it takes one block (32 MiB of float32) and n x n float32. Products of
    low-rank updates are never formed where their rank r makes that cheaper:
    ``<B_i A_i, B_j A_j> = sum((B_i.T B_j) * (A_i A_j.T))`` costs r^2 (dH + dW) in place of
    dH dW.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    layer : Layer
    root, scale
        See `Centring.of`.

    Examples
    --------
    >>> from probes.layers import Dense
    >>> gram(np.eye(3), Dense("", 0, (1, 3)), root=None, scale=None)[0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    check_centring(root, scale, X.shape[1])
    if isinstance(layer, LowRank) and factored(layer):
        K, found = _of_factors(X, layer, root)
    else:
        found = None if root is None else np.empty(size(layer), X.dtype)
        K = np.zeros((len(X), len(X)))
        for _, block in removed(X, layer, root, found):
            K += block @ block.T  # numpy computes one triangle of it
    squares = K.diagonal().copy()
    centring = Centring.measured(layer, found, squares, scale)
    divisors = centring.divided(squares)
    K /= divisors[:, None]
    K /= divisors
    return K, centring


def joint_gram(
    X: Array, layers: Sequence[Layer], root: Any = "mean", scale: str | None = "global"
) -> tuple[Array, tuple[Centring, ...]]:
    """`gram` of layers side by side: the sum over layers, each scaled for itself."""
    K, first = gram(X, layers[0], root, scale)
    found = [first]
    for layer in layers[1:]:
        part, centring = gram(X, layer, root, scale)
        K += part
        found.append(centring)
    return K, tuple(found)


def factored(layer: LowRank) -> bool:
    """Whether inner products are cheaper from the factors than from the products."""
    rows, columns = layer.shape
    return layer.rank**2 * (rows + columns) < rows * columns


def products(X: Array, Y: Array, layer: LowRank) -> Array:
    """Inner products (n, m) float64 of the updates of two sets of networks as they are."""
    if factored(layer):
        found = np.empty((len(X), len(Y)))
        for rows, mine in _pairs(layer, X):
            for columns, theirs in _pairs(layer, Y):
                found[rows, columns] = _tile(mine, theirs, layer.rank)
        return found
    found = np.zeros((len(X), len(Y)))
    most = max(len(X), len(Y))
    both = zip(column_blocks(X, layer, most), column_blocks(Y, layer, most), strict=True)
    for (_, block), (_, other) in both:
        found += block @ other.T
    return found


def against(X: Array, layer: LowRank, matrix: Array) -> Array:
    """Inner products (n,) of the updates with one matrix (dH, dW)."""
    down, found = layer.down.of(X), np.empty(len(X))
    for rows in _rows(len(X), layer.rank * sum(layer.shape)):
        up = layer.up.of(X[rows])
        image = np.einsum("ij,nrj->nir", matrix, down[rows], optimize=True)
        found[rows] = np.einsum("nir,nir->n", up, image, dtype=np.float64)
    return found


def lengths(X: Array, layer: LowRank) -> Array:
    """Squared norms (n,) of the updates as they are."""
    found = np.empty(len(X))
    for rows in _rows(len(X), layer.rank * sum(layer.shape)):
        up, down = layer.up.of(X[rows]), layer.down.of(X[rows])
        across = up.transpose(0, 2, 1) @ up, down @ down.transpose(0, 2, 1)
        found[rows] = np.einsum("npq,npq->n", *across, dtype=np.float64)
    return found


def _of_factors(X: Array, layer: LowRank, root: Any) -> tuple[Array, Array | None]:
    """Centred inner products, and the root they are without."""
    n = len(X)
    K = np.empty((n, n))
    for rows, across in _pairs(layer, X):
        for columns, other in _pairs(layer, X[: rows.start]):
            K[rows, columns] = _tile(across, other, layer.rank)
            K[columns, rows] = K[rows, columns].T
        K[rows, rows] = _tile(across, across, layer.rank)
    if root is None:
        return K, None
    if isinstance(root, str):
        matrix = mean_product(X, layer)
    else:
        matrix = layer.of(np.asarray(root, X.dtype)[None])[0]
    before = K.diagonal().copy()
    along = against(X, layer, matrix)
    K -= along[:, None]
    K -= along
    K += float((matrix.astype(np.float64) ** 2).sum())
    rounding = K.diagonal() <= 1e2 * np.finfo(X.dtype).eps * before
    K[rounding] = K[:, rounding] = 0  # the root itself
    return K, matrix.reshape(-1)


def mean_product(X: Array, layer: LowRank) -> Array:
    """Mean (dH, dW) of the updates, of which none is formed."""
    found = np.zeros(layer.shape)
    for rows in _rows(len(X), layer.rank * sum(layer.shape)):
        up, down = layer.up.of(X[rows]), layer.down.of(X[rows])
        wide = up.transpose(1, 0, 2).reshape(layer.shape[0], -1)
        found += wide @ down.reshape(-1, layer.shape[1])
    return (found / len(X)).astype(X.dtype)


def _tile(across: tuple[Array, Array], other: tuple[Array, Array], rank: int) -> Array:
    tile = across[0] @ other[0].T
    tile *= across[1] @ other[1].T
    n, m = tile.shape
    some = tile.reshape(n // rank, rank, m).sum(1)
    found: Array = np.einsum("ijk->ij", some.reshape(n // rank, m // rank, rank))
    return found


def _pairs(layer: LowRank, X: Array) -> Iterator[tuple[slice, tuple[Array, Array]]]:
    """Rows and their factors as (m r, dH) and (m r, dW)."""
    up, down = layer.up.of(X), layer.down.of(X)
    most = max(layer.rank * max(layer.shape), layer.rank**2 * 512)
    for rows in _rows(len(X), most):
        stacked = up[rows].transpose(0, 2, 1).reshape(-1, layer.shape[0])
        yield rows, (stacked, down[rows].reshape(-1, layer.shape[1]))


def _rows(n: int, each: int) -> Iterator[slice]:
    """Rows of which a block takes ``each`` values."""
    step = max(BLOCK // each, 1)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
