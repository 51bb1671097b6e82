"""Bases that project matrices to small cores, for probes trained by gradient descent.

The bases are computed in closed form from exact ridge, like those of
`probes.estimators.tucker`. They keep the leading subspaces of a dense expert, and an epoch
on k x k cores costs a fraction of an epoch on matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from probes.exact.centring import Centring
from probes.exact.expert import Expert
from probes.exact.gram import joint_gram
from probes.exact.ridge import Spectrum, best, check_alphas, path
from probes.exact.subspace import cores, shared_bases
from probes.layers import Layer


@dataclass(frozen=True)
class Bases:
    """Bases of the cores of one layer.

    Attributes
    ----------
    centring : Centring
        Centring of the layer.
    left, right : ndarray of shape (1, dH, k) and (1, dW, k)
        Bases; ``right`` is scaled so that the root mean square of training cores is 1.
    """

    centring: Centring
    left: Array
    right: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a core."""
        return self.left.shape[2], self.right.shape[2]

    def cores(self, X: Array) -> Array:
        """Compute the cores (n, k, k) of weights X (n, d)."""
        return cores(X, self.centring, self.left, self.right)[:, 0]


def ridge_bases(
    X: Array,
    y: Array,
    groups: Array,
    train: Array,
    layers: Sequence[Layer],
    root: object,
    scale: str | None,
    rank: int,
) -> tuple[Bases, ...]:
    """Fit bases of rank k to targets y (n, width) of the training rows.

    All layers enter one ridge regression; its penalty is chosen on held-out groups.

    Raises
    ------
    ValueError
        If all training rows are one group.
    """
    K, centrings = joint_gram(X, layers, root, scale)
    spectrum = Spectrum.of_gram(K[np.ix_(train, train)], float(np.finfo(X.dtype).eps))
    alphas = check_alphas(None)
    scores = path(spectrum, y[train], groups[train], alphas).mean(1)
    dual = np.zeros(y.shape)
    dual[train] = spectrum.dual(y[train] - y[train].mean(0), best(alphas, scores))
    return tuple(_layer_bases(X, c, dual, train, rank) for c in centrings)


def _layer_bases(
    X: Array, centring: Centring, dual: Array, train: Array, rank: int
) -> Bases:
    left, right = shared_bases(Expert.of(X, centring, dual).coefficients, rank)
    bases = Bases(centring, left, right)
    rms = float(np.sqrt(np.square(bases.cores(X)[train], dtype=np.float64).mean()))
    return Bases(centring, left, right / rms if rms > 0 else right)
