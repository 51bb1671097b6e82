"""Inner products between networks, one layer at a time.

Every exact probe needs only these n x n numbers. They are summed in float64 over column
blocks in the precision of the weights, so that no second copy of a layer is made.
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
    """Compute inner products (n, n) float64 of centred and scaled networks.

    The centring is returned too. Memory beyond the result is one block (32 MiB of float32)
    and n x n float32. Products of low-rank updates are not formed if their rank r makes
    that cheaper:
    ``<B_i A_i, B_j A_j> = sum((B_i.T B_j) * (A_i A_j.T))`` costs r^2 (dH + dW) in place of
    dH dW.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Weights of n networks.
    layer : Layer
        Layer whose inner products are computed.
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
        K, centre = _of_factors(X, layer, root)
    else:
        centre = None if root is None else np.empty(size(layer), X.dtype)
        K = np.zeros((len(X), len(X)))
        for _, block in removed(X, layer, root, centre):
            K += block @ block.T  # numpy computes only one triangle
    squares = K.diagonal().copy()
    centring = Centring.measured(layer, centre, squares, scale)
    divisors = centring.divided(squares)
    K /= divisors[:, None]
    K /= divisors
    return K, centring


def joint_gram(
    X: Array, layers: Sequence[Layer], root: Any = "mean", scale: str | None = "global"
) -> tuple[Array, tuple[Centring, ...]]:
    """Compute `gram` of layers side by side: the sum over layers, scaled one by one."""
    K, first = gram(X, layers[0], root, scale)
    centrings = [first]
    for layer in layers[1:]:
        part, centring = gram(X, layer, root, scale)
        K += part
        centrings.append(centring)
    return K, tuple(centrings)


def factored(layer: LowRank) -> bool:
    """Return True if inner products are cheaper from the factors than from the products."""
    rows, columns = layer.shape
    return layer.rank**2 * (rows + columns) < rows * columns


def products(X: Array, Y: Array, layer: LowRank) -> Array:
    """Compute inner products (n, m) float64 of the uncentred updates of two sets."""
    if factored(layer):
        inner = np.empty((len(X), len(Y)))
        for rows, row_factors in _pairs(layer, X):
            for columns, column_factors in _pairs(layer, Y):
                inner[rows, columns] = _tile(row_factors, column_factors, layer.rank)
        return inner
    inner = np.zeros((len(X), len(Y)))
    networks = max(len(X), len(Y))
    blocks = zip(
        column_blocks(X, layer, networks), column_blocks(Y, layer, networks), strict=True
    )
    for (_, left), (_, right) in blocks:
        inner += left @ right.T
    return inner


def against(X: Array, layer: LowRank, matrix: Array) -> Array:
    """Compute inner products (n,) of the updates with one matrix (dH, dW)."""
    down, inner = layer.down.of(X), np.empty(len(X))
    for rows in _rows(len(X), layer.rank * sum(layer.shape)):
        up = layer.up.of(X[rows])
        image = np.einsum("ij,nrj->nir", matrix, down[rows], optimize=True)
        inner[rows] = np.einsum("nir,nir->n", up, image, dtype=np.float64)
    return inner


def lengths(X: Array, layer: LowRank) -> Array:
    """Compute squared norms (n,) of the uncentred updates."""
    squares = np.empty(len(X))
    for rows in _rows(len(X), layer.rank * sum(layer.shape)):
        up, down = layer.up.of(X[rows]), layer.down.of(X[rows])
        across = up.transpose(0, 2, 1) @ up, down @ down.transpose(0, 2, 1)
        squares[rows] = np.einsum("npq,npq->n", *across, dtype=np.float64)
    return squares


def _of_factors(X: Array, layer: LowRank, root: Any) -> tuple[Array, Array | None]:
    """Compute centred inner products, and the root that was subtracted."""
    n = len(X)
    K = np.empty((n, n))
    for rows, row_factors in _pairs(layer, X):
        for columns, column_factors in _pairs(layer, X[: rows.start]):
            K[rows, columns] = _tile(row_factors, column_factors, layer.rank)
            K[columns, rows] = K[rows, columns].T
        K[rows, rows] = _tile(row_factors, row_factors, layer.rank)
    if root is None:
        return K, None
    if isinstance(root, str):
        matrix = mean_product(X, layer)
    else:
        matrix = layer.of(np.asarray(root, X.dtype)[None])[0]
    uncentred = K.diagonal().copy()
    with_root = against(X, layer, matrix)
    K -= with_root[:, None]
    K -= with_root
    K += float((matrix.astype(np.float64) ** 2).sum())
    is_root = K.diagonal() <= 1e2 * np.finfo(X.dtype).eps * uncentred
    K[is_root] = K[:, is_root] = 0  # networks equal to the root
    return K, matrix.reshape(-1)


def mean_product(X: Array, layer: LowRank) -> Array:
    """Compute the mean (dH, dW) of the updates without forming them."""
    total = np.zeros(layer.shape)
    for rows in _rows(len(X), layer.rank * sum(layer.shape)):
        up, down = layer.up.of(X[rows]), layer.down.of(X[rows])
        wide = up.transpose(1, 0, 2).reshape(layer.shape[0], -1)
        total += wide @ down.reshape(-1, layer.shape[1])
    return (total / len(X)).astype(X.dtype)


def _tile(
    row_factors: tuple[Array, Array], column_factors: tuple[Array, Array], rank: int
) -> Array:
    tile = row_factors[0] @ column_factors[0].T
    tile *= row_factors[1] @ column_factors[1].T
    n, m = tile.shape
    row_sums = tile.reshape(n // rank, rank, m).sum(1)
    sums: Array = np.einsum("ijk->ij", row_sums.reshape(n // rank, m // rank, rank))
    return sums


def _pairs(layer: LowRank, X: Array) -> Iterator[tuple[slice, tuple[Array, Array]]]:
    """Yield rows with their factors as (m r, dH) and (m r, dW)."""
    up, down = layer.up.of(X), layer.down.of(X)
    values_per_row = max(layer.rank * max(layer.shape), layer.rank**2 * 512)
    for rows in _rows(len(X), values_per_row):
        stacked = up[rows].transpose(0, 2, 1).reshape(-1, layer.shape[0])
        yield rows, (stacked, down[rows].reshape(-1, layer.shape[1]))


def _rows(n: int, values_per_row: int) -> Iterator[slice]:
    """Yield blocks of rows, if a row takes ``values_per_row`` values."""
    step = max(BLOCK // values_per_row, 1)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
