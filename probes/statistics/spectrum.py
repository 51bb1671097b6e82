"""What the singular values of weight matrices say, for stacks of matrices at once."""

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
"""Of eigenvalues, in units of the largest: below it float32 Gram matrices hold noise."""
_BYTES = 64 << 20
"""Of Gram matrices at a time."""


def squares(layer: Layer, X: Array) -> Array:
    """Squared singular values of a layer of every network, ascending.

    By the Gram matrix of the smaller side, for low-rank updates by those of the factors:
    their product is not formed. Takes 64 MB, or what one matrix takes.

    Parameters
    ----------
    layer : Layer
    X : ndarray of shape (n, d)

    Returns
    -------
    ndarray of shape (n, k), float64
        k = min(dH, dW), or the rank of a low-rank update. Not negative.
    """
    k = _size(layer)
    found = np.empty((len(X), k))
    step = max(_BYTES // (8 * max(k * k, 1)), 1)
    for rows in _blocks(len(X), step):
        found[rows] = np.linalg.eigvalsh(_gram(layer, X[rows]).astype(np.float64))
    return np.maximum(found, 0, out=found)


def spectral(eigenvalues: Array) -> Array:
    """Statistics of squared singular values.

    Parameters
    ----------
    eigenvalues : ndarray of shape (n, k)
        Ascending, as `squares` gives them.

    Returns
    -------
    ndarray of shape (n, 6)
        Columns `SPECTRAL`. Stable rank: squared Frobenius over squared spectral norm.
        Effective rank [1]_: exponential of the entropy of normalised singular values.
        Tail exponent [2]_: of a power law through the upper half of the squares, by
        Hill's estimator. Log-determinant: mean logarithm of the squares, in units of
        their mean, with what float32 cannot resolve cut off. All zero for a matrix of
        zeros.

    References
    ----------
    .. [1] Roy and Vetterli 2007, EUSIPCO.
    .. [2] Martin et al. 2021, arXiv:2002.06716, where the tail's start is fitted; here it
       is the median, which moves less from network to network.
    """
    k = eigenvalues.shape[1]
    top = eigenvalues[:, -1]
    alive = top > 0
    kept = np.where(alive[:, None], eigenvalues, 1.0)
    kept = np.maximum(kept, _FLOOR * kept[:, -1:])
    singular = np.sqrt(kept)
    share = singular / singular.sum(1, keepdims=True)
    entropy = -(share * np.log(share)).sum(1)
    total = eigenvalues.sum(1)
    tail = np.log(kept[:, k // 2 :])
    rise = (tail - tail[:, :1]).mean(1)
    statistics = np.stack(
        [
            np.sqrt(top),
            np.sqrt(total),
            total / np.where(alive, top, 1.0),
            np.exp(entropy),
            1 / (1 + rise),  # of the exponent 1 + 1 / rise, as 1 - 1 / exponent: bounded
            np.log(kept).mean(1) - np.log(kept.mean(1)),
        ],
        axis=1,
    )
    return np.where(alive[:, None], statistics, 0.0)


def low_rank_moments(layer: LowRank, X: Array, eigenvalues: Array) -> Array:
    """Mean and standard deviation of the values of ``up @ down``, which is not formed.

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
    # The squares of B A are the eigenvalues of S B'B S', where S'S = A A'.
    up, down = layer.up.of(X), layer.down.of(X)
    values, vectors = np.linalg.eigh((down @ down.transpose(0, 2, 1)).astype(np.float64))
    root = np.sqrt(np.maximum(values, 0))[:, :, None] * vectors.transpose(0, 2, 1)
    inner: Array = root @ (up.transpose(0, 2, 1) @ up) @ root.transpose(0, 2, 1)
    return inner


def _blocks(n: int, step: int) -> Iterator[slice]:
    for first in range(0, n, step):
        yield slice(first, min(first + step, n))
