"""Subspaces that matrices share, and projections of networks onto them (Tucker cores)."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from catalog.dtypes import Array
from probes.exact.centring import BLOCK, Centring, size
from probes.layers import LowRank


def shared_bases(matrices: Array, rank: int) -> tuple[Array, Array]:
    """Return the leading k eigenvectors of ``sum_t W_t W_t.T`` and ``sum_t W_t.T W_t``.

    They are the truncated higher-order SVD of the stack in two of its three modes.

    Parameters
    ----------
    matrices : ndarray of shape (width, dH, dW)
        Matrix of coefficients of each target.
    rank : int
        Rank k; reduced to the size of the matrices if larger.

    Returns
    -------
    left, right : ndarray of shape (1, dH, k) and (1, dW, k)
        Bases of the rows and columns that all targets share.
    """
    width, rows, columns = matrices.shape
    if width * rows < columns:
        _, right = _singular(matrices.reshape(width * rows, columns), rank)
    else:
        right = _leading(sum(W.T @ W for W in matrices), rank)
    if width * columns < rows:
        tall = matrices.transpose(0, 2, 1).reshape(width * columns, rows)
        _, left = _singular(tall, rank)
    else:
        left = _leading(sum(W @ W.T for W in matrices), rank)
    return left[None], right[None]


def own_bases(matrices: Array, rank: int) -> tuple[Array, Array]:
    """Return leading k singular vectors of each matrix: (width, dH, k), (width, dW, k)."""
    bases = [_singular(W, rank) for W in matrices]
    return np.stack([left for left, _ in bases]), np.stack([right for _, right in bases])


def cores(X: Array, centring: Centring, left: Array, right: Array) -> Array:
    """Project centred and scaled networks onto s pairs of bases, (n, s, k, k).

    One block of networks is copied at a time; low-rank updates are not formed.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Finite weights.
    centring : Centring
        Centring of the layer.
    left, right : ndarray of shape (s, dH, k) and (s, dW, k)
        Bases of the rows and columns.
    """
    layer = centring.layer
    sets, columns, k = right.shape
    left_T = left.transpose(0, 2, 1).astype(X.dtype, copy=False)[:, None]
    right_flat = (
        right.transpose(1, 0, 2).reshape(columns, sets * k).astype(X.dtype, copy=False)
    )
    projections = np.empty((len(X), sets, left.shape[2], k), X.dtype)
    values_per_network = (
        layer.rank * sum(layer.shape) if isinstance(layer, LowRank) else size(layer)
    )
    step = max(BLOCK // (values_per_network + sets * k * layer.shape[0]), 1)

    def times_right(matrices: Array) -> Array:
        image = (matrices @ right_flat).reshape(*matrices.shape[:2], sets, k)
        return image.transpose(2, 0, 1, 3)

    def projected(rows: Array) -> Array:
        if not isinstance(layer, LowRank):
            return (left_T @ times_right(centring.apply(rows))).transpose(1, 0, 2, 3)
        part = (left_T @ layer.up.of(rows)) @ times_right(layer.down.of(rows))
        if centring.root is not None:
            part -= left_T @ times_right(centring.root[None])
        part = part.transpose(1, 0, 2, 3)
        if centring.each:
            return part / centring.divisors(rows).astype(X.dtype)[:, None, None, None]
        return part / X.dtype.type(centring.scale)

    # OpenBLAS (0.3.31 with AVX-512) reads past small float32 matrices and sets the flag
    with np.errstate(invalid="ignore"):
        for start in range(0, len(X), step):
            projections[start : start + step] = projected(X[start : start + step])
    return projections


def _singular(W: Array, rank: int) -> tuple[Array, Array]:
    """Return leading left and right singular vectors, from the smaller Gram matrix."""
    if W.shape[0] < W.shape[1]:
        right, left = _singular(W.T, rank)
        return left, right
    right = _leading(W.T @ W, rank)
    left = W @ right
    norms = np.linalg.norm(left, axis=0)
    return left / np.where(norms > 0, norms, 1), right


def _leading(symmetric: Array, rank: int) -> Array:
    """Return the leading eigenvectors, with zeros for eigenvalues that are rounding.

    Such an eigenvector is arbitrary, and cores must not depend on the choice.
    """
    n, eps = len(symmetric), float(np.finfo(symmetric.dtype).eps)
    selection = (max(n - rank, 0), n - 1)
    values, vectors = eigh(symmetric.astype(np.float64), subset_by_index=selection)
    significant = values > n * eps * max(float(values[-1]), 0.0)
    leading: Array = np.where(significant, vectors, 0.0)[:, ::-1]
    return leading
