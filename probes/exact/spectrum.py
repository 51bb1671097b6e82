"""Spectra of layers side by side, for ridge regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from catalog.dtypes import Array
from probes.exact.centring import Centring, size
from probes.exact.gram import joint_gram
from probes.exact.ridge import Spectrum
from probes.layers import Layer


def spectrum_of(
    X: Array, layers: Sequence[Layer], root: Any = "mean", scale: str | None = "global"
) -> tuple[Spectrum, tuple[Centring, ...], Array]:
    """Return the spectrum of layers side by side, and how the layers were centred.

    Returns
    -------
    spectrum : Spectrum
        Eigendecomposition of the Gram matrix.
    centrings : tuple of Centring
        Centring of each layer.
    mean : ndarray of shape (n,)
        Inner product of each network with the mean network.
    """
    n, eps = len(X), float(np.finfo(X.dtype).eps)
    if sum(size(layer) for layer in layers) < n:
        centrings = tuple(Centring.of(X, layer, root, scale) for layer in layers)
        Z = np.concatenate([c.apply(X).reshape(n, -1) for c in centrings], axis=1)
        Z = Z.astype(np.float64, copy=False)
        mean = Z @ Z.mean(0)
        return Spectrum.of_features(Z, eps), centrings, mean
    K, centrings = joint_gram(X, layers, root, scale)
    mean = K.mean(0)
    return Spectrum.of_gram(K, eps), centrings, mean
