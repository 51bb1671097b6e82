"""Linear function of one layer, as ridge regression fits it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from probes.exact.centring import BLOCK, Centring, column_blocks, size
from probes.exact.gram import against, lengths, products
from probes.layers import LowRank, alone, layer_matrix


@dataclass(frozen=True)
class Expert:
    """Inner products of a layer with a matrix for each target.

    Attributes
    ----------
    centring : Centring
        Centring of the layer.
    matrices : ndarray of shape (width, dH, dW) or None
        Matrices for a dense layer, per unit of its centred and scaled values.
    factors : ndarray of shape (n, r * (dH + dW)) or None
        Factors of the training networks, for low-rank updates. The matrices are the sum of
        the updates weighted by ``dual``, and need not be formed.
    dual : ndarray of shape (n, width) or None
        Weight of each training network, for low-rank updates.
    """

    centring: Centring
    matrices: Array | None = None
    factors: Array | None = None
    dual: Array | None = None

    @classmethod
    def of(cls, X: Array, centring: Centring, dual: Array) -> Expert:
        """Return the sum of centred and scaled networks (n, d), weighted by (n, width)."""
        scaled = dual / centring.divisors(X)[:, None]
        layer = centring.layer
        if isinstance(layer, LowRank):
            return cls(centring, None, layer_matrix(X, layer), scaled)
        matrices = np.empty((dual.shape[1], size(layer)), X.dtype)
        weights = scaled.T.astype(X.dtype)
        for columns, block in column_blocks(X, layer):
            if centring.root is not None:
                block -= centring.root.reshape(-1)[columns]
            matrices[:, columns] = weights @ block
        return cls(centring, matrices.reshape(-1, *layer.shape))

    def scores(self, X: Array) -> Array:
        """Compute values (n, width) in float64 for weights (n, d)."""
        layer, centring = self.centring.layer, self.centring
        squares = np.zeros(len(X))
        if isinstance(layer, LowRank):
            return self._of_factors(X, layer)
        assert self.matrices is not None
        values = np.zeros((len(X), len(self.matrices)))
        flat = self.matrices.reshape(len(self.matrices), -1)
        for columns, block in column_blocks(X, layer):
            if centring.root is not None:
                block -= centring.root.reshape(-1)[columns]
            if centring.each:
                squares += np.einsum("ij,ij->i", block, block, dtype=np.float64)
            values += block @ flat[:, columns].T
        return values / centring.divided(squares)[:, None]

    def _of_factors(self, X: Array, layer: LowRank) -> Array:
        assert self.factors is not None
        assert self.dual is not None
        factors, training_factors = (
            layer_matrix(X, layer),
            self.factors.astype(X.dtype, copy=False),
        )
        layer, root = _alone(layer), self.centring.root
        inner = products(factors, training_factors, layer)
        squares = lengths(factors, layer) if self.centring.each else np.zeros(len(X))
        if root is not None:
            along, length = against(factors, layer, root), float((root**2.0).sum())
            inner -= along[:, None]
            inner += length - against(training_factors, layer, root)
            uncentred = squares
            squares = squares - 2 * along + length
            squares[squares <= 1e2 * np.finfo(X.dtype).eps * uncentred] = 0
        values: Array = inner @ self.dual
        return values / self.centring.divided(squares)[:, None]

    @property
    def coefficients(self) -> Array:
        """Matrices (width, dH, dW); low-rank updates are formed."""
        if self.matrices is not None:
            return self.matrices
        assert self.factors is not None
        assert self.dual is not None
        layer = self.centring.layer
        assert isinstance(layer, LowRank)
        layer = _alone(layer)
        matrices = np.zeros((self.dual.shape[1], size(layer)))
        step = max(BLOCK // size(layer), 1)
        for start in range(0, len(self.dual), step):
            rows = slice(start, start + step)
            formed = layer.of(self.factors[rows]).reshape(-1, size(layer))
            if self.centring.root is not None:
                formed = formed - self.centring.root.reshape(-1)
            matrices += self.dual[rows].T @ formed
        return matrices.reshape(-1, *layer.shape)


def _alone(layer: LowRank) -> LowRank:
    layer_alone = alone(layer)
    assert isinstance(layer_alone, LowRank)
    return layer_alone
