"""Subspaces that matrices share, and networks seen through them (Tucker cores)."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from catalog.dtypes import Array
from probes.exact.centring import BLOCK, Centring, size
from probes.layers import LowRank


def shared_bases(matrices: Array, rank: int) -> tuple[Array, Array]:
    """Leading k eigenvectors of ``sum_t W_t W_t.T`` and of ``sum_t W_t.T W_t``.

    The truncated higher-order SVD of the stack, of two of its three modes.

    Parameters
    ----------
    matrices : ndarray of shape (width, dH, dW)
    rank : int
        Cut to what the matrices have.

    Returns
    -------
    left, right : ndarray of shape (1, dH, k) and (1, dW, k)
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
    """Leading k singular vectors of every matrix, (width, dH, k) and (width, dW, k)."""
    found = [_singular(W, rank) for W in matrices]
    return np.stack([left for left, _ in found]), np.stack([right for _, right in found])


def cores(X: Array, centring: Centring, left: Array, right: Array) -> Array:
    """Centred and scaled networks in s pairs of bases, (n, s, k, k).

    One block of networks is copied at a time; low-rank updates are not formed.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Finite.
    centring : Centring
    left, right : ndarray of shape (s, dH, k) and (s, dW, k)
    """
    layer = centring.layer
    sets, columns, k = right.shape
    onto = left.transpose(0, 2, 1).astype(X.dtype, copy=False)[:, None]
    wide = right.transpose(1, 0, 2).reshape(columns, sets * k).astype(X.dtype, copy=False)
    found = np.empty((len(X), sets, left.shape[2], k), X.dtype)
    each = layer.rank * sum(layer.shape) if isinstance(layer, LowRank) else size(layer)
    step = max(BLOCK // (each + sets * k * layer.shape[0]), 1)

    def seen(matrices: Array) -> Array:
        image = (matrices @ wide).reshape(*matrices.shape[:2], sets, k)
        return image.transpose(2, 0, 1, 3)

    def seen_by_both(some: Array) -> Array:
        if not isinstance(layer, LowRank):
            return (onto @ seen(centring.apply(some))).transpose(1, 0, 2, 3)
        part = (onto @ layer.up.of(some)) @ seen(layer.down.of(some))
        if centring.root is not None:
            part -= onto @ seen(centring.root[None])
        part = part.transpose(1, 0, 2, 3)
        if centring.each:
            return part / centring.divisors(some).astype(X.dtype)[:, None, None, None]
        return part / X.dtype.type(centring.scale)

    # OpenBLAS (0.3.31 with AVX-512) reads past small float32 matrices and sets the flag
    with np.errstate(invalid="ignore"):
        for start in range(0, len(X), step):
            found[start : start + step] = seen_by_both(X[start : start + step])
    return found


def _singular(W: Array, rank: int) -> tuple[Array, Array]:
    """Leading left and right singular vectors, from the smaller Gram matrix."""
    if W.shape[0] < W.shape[1]:
        right, left = _singular(W.T, rank)
        return left, right
    right = _leading(W.T @ W, rank)
    left = W @ right
    norms = np.linalg.norm(left, axis=0)
    return left / np.where(norms > 0, norms, 1), right


def _leading(symmetric: Array, rank: int) -> Array:
    """Leading eigenvectors; zeros where the eigenvalue is rounding of the largest.

    Any other vector would do there, and cores must not depend on which.
    """
    n, eps = len(symmetric), float(np.finfo(symmetric.dtype).eps)
    within = (max(n - rank, 0), n - 1)
    values, vectors = eigh(symmetric.astype(np.float64), subset_by_index=within)
    kept = values > n * eps * max(float(values[-1]), 0.0)
    found: Array = np.where(kept, vectors, 0.0)[:, ::-1]
    return found
