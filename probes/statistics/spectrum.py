"""Statistics of singular values, computed for stacks of weight matrices at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from catalog.dtypes import Array
from probes.layers import Layer, LowRank

SPECTRAL = (
    "spectral_norm",
    "frobenius_norm",
    "stable_rank",
    "effective_rank",
    "tail_exponent",
    "log_det",
)
"""Names of the columns of `spectral`."""

_FLOOR = 1e-6
"""Floor of eigenvalues relative to the largest; smaller ones are float32 noise."""
_BYTES = 64 << 20
"""Maximum number of bytes of the Gram matrices in memory."""


def squares(layer: Layer, X: Array) -> Array:
    """Compute the squared singular values of a layer of every network, ascending.

    They are the eigenvalues of the Gram matrix of the smaller side; for low-rank updates,
    of Gram matrices of the factors, whose product is not formed. Stacks of Gram matrices
    take 64 MB, or the size of one matrix if it is larger.

    Parameters
    ----------
    layer : Layer
        Layer whose singular values are computed.
    X : ndarray of shape (n, d)
        Weights of n networks.

    Returns
    -------
    ndarray of shape (n, k), float64
        Non-negative values; k = min(dH, dW), or the rank of a low-rank update.
    """
    k = _size(layer)
    values = np.empty((len(X), k))
    step = max(_BYTES // (8 * max(k * k, 1)), 1)
    for rows in _blocks(len(X), step):
        values[rows] = np.linalg.eigvalsh(_gram(layer, X[rows]).astype(np.float64))
    return np.maximum(values, 0, out=values)


def spectral(eigenvalues: Array) -> Array:
    """Compute statistics of squared singular values.

    Parameters
    ----------
    eigenvalues : ndarray of shape (n, k)
        Ascending squared singular values, as returned by `squares`.

    Returns
    -------
    ndarray of shape (n, 6)
        Columns `SPECTRAL`. Stable rank: squared Frobenius over squared spectral norm.
        Effective rank [1]_: exponential of the entropy of normalised singular values.
        Tail exponent [2]_: exponent of a power law fitted to the upper half of the squares
        by Hill's estimator, as ``1 - 1 / exponent``. Log-determinant: mean logarithm of
        the squares relative to their mean, with squares below the resolution of float32
        raised to it. All statistics of a zero matrix are 0.

    References
    ----------
    .. [1] Roy and Vetterli 2007, EUSIPCO.
    .. [2] Martin et al. 2021, arXiv:2002.06716, where the start of the tail is fitted; here
       it is the median, which varies less between networks.
    """
    k = eigenvalues.shape[1]
    top = eigenvalues[:, -1]
    nonzero = top > 0
    clipped = np.where(nonzero[:, None], eigenvalues, 1.0)
    clipped = np.maximum(clipped, _FLOOR * clipped[:, -1:])
    singular = np.sqrt(clipped)
    share = singular / singular.sum(1, keepdims=True)
    entropy = -(share * np.log(share)).sum(1)
    total = eigenvalues.sum(1)
    tail = np.log(clipped[:, k // 2 :])
    rise = (tail - tail[:, :1]).mean(1)
    statistics = np.stack(
        [
            np.sqrt(top),
            np.sqrt(total),
            total / np.where(nonzero, top, 1.0),
            np.exp(entropy),
            1 / (1 + rise),  # bounded form 1 - 1 / exponent of the exponent 1 + 1 / rise
            np.log(clipped).mean(1) - np.log(clipped.mean(1)),
        ],
        axis=1,
    )
    return np.where(nonzero[:, None], statistics, 0.0)


def low_rank_moments(layer: LowRank, X: Array, eigenvalues: Array) -> Array:
    """Compute mean and standard deviation of ``up @ down`` without forming the product.

    Returns
    -------
    ndarray of shape (n, 2)
    """
    size = layer.shape[0] * layer.shape[1]
    up, down = layer.up.of(X).sum(1), layer.down.of(X).sum(2)
    mean = np.einsum("nr,nr->n", up, down, dtype=np.float64) / size
    variance = eigenvalues.sum(1) / size - mean**2
    return np.stack([mean, np.sqrt(np.maximum(variance, 0))], axis=1)


def _size(layer: Layer) -> int:
    return layer.rank if isinstance(layer, LowRank) else min(layer.shape)


def _gram(layer: Layer, X: Array) -> Array:
    if not isinstance(layer, LowRank):
        matrices = layer.of(X)
        if layer.shape[0] > layer.shape[1]:
            matrices = matrices.transpose(0, 2, 1)
        gram: Array = matrices @ matrices.transpose(0, 2, 1)
        return gram
    # The squared singular values of B A are the eigenvalues of S B'B S', with S'S = A A'.
    up, down = layer.up.of(X), layer.down.of(X)
    values, vectors = np.linalg.eigh((down @ down.transpose(0, 2, 1)).astype(np.float64))
    root = np.sqrt(np.maximum(values, 0))[:, :, None] * vectors.transpose(0, 2, 1)
    inner: Array = root @ (up.transpose(0, 2, 1) @ up) @ root.transpose(0, 2, 1)
    return inner


def _blocks(n: int, step: int) -> Iterator[slice]:
    for first in range(0, n, step):
        yield slice(first, min(first + step, n))
