"""A linear function of one layer, as ridge regression finds it."""

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
    matrices : ndarray of shape (width, dH, dW) or None
        Of a dense layer, in units of its centred and scaled values.
    factors : ndarray of shape (n, r * (dH + dW)) or None
        Of low-rank updates: those of the training networks, whose sum times ``dual`` the
        matrices are. So they are never formed.
    dual : ndarray of shape (n, width) or None
    """

    centring: Centring
    matrices: Array | None = None
    factors: Array | None = None
    dual: Array | None = None

    @classmethod
    def of(cls, X: Array, centring: Centring, dual: Array) -> Expert:
        """The sum of centred and scaled networks (n, d) times weights (n, width)."""
        scaled = dual / centring.divisors(X)[:, None]
        layer = centring.layer
        if isinstance(layer, LowRank):
            return cls(centring, None, layer_matrix(X, layer), scaled)
        matrices = np.empty((dual.shape[1], size(layer)), X.dtype)
        weights = scaled.T.astype(X.dtype)
        for at, block in column_blocks(X, layer):
            if centring.root is not None:
                block -= centring.root.reshape(-1)[at]
            matrices[:, at] = weights @ block
        return cls(centring, matrices.reshape(-1, *layer.shape))

    def scores(self, X: Array) -> Array:
        """Values (n, width) float64 for weights (n, d)."""
        layer, centring = self.centring.layer, self.centring
        squares = np.zeros(len(X))
        if isinstance(layer, LowRank):
            return self._of_factors(X, layer)
        assert self.matrices is not None
        found = np.zeros((len(X), len(self.matrices)))
        flat = self.matrices.reshape(len(self.matrices), -1)
        for at, block in column_blocks(X, layer):
            if centring.root is not None:
                block -= centring.root.reshape(-1)[at]
            if centring.each:
                squares += np.einsum("ij,ij->i", block, block, dtype=np.float64)
            found += block @ flat[:, at].T
        return found / centring.divided(squares)[:, None]

    def _of_factors(self, X: Array, layer: LowRank) -> Array:
        assert self.factors is not None
        assert self.dual is not None
        mine, theirs = layer_matrix(X, layer), self.factors.astype(X.dtype, copy=False)
        layer, root = _alone(layer), self.centring.root
        inner = products(mine, theirs, layer)
        squares = lengths(mine, layer) if self.centring.each else np.zeros(len(X))
        if root is not None:
            along, length = against(mine, layer, root), float((root**2.0).sum())
            inner -= along[:, None]
            inner += length - against(theirs, layer, root)
            before = squares
            squares = squares - 2 * along + length
            squares[squares <= 1e2 * np.finfo(X.dtype).eps * before] = 0
        found: Array = inner @ self.dual
        return found / self.centring.divided(squares)[:, None]

    @property
    def coefficients(self) -> Array:
        """Matrices (width, dH, dW); formed, of low-rank updates."""
        if self.matrices is not None:
            return self.matrices
        assert self.factors is not None
        assert self.dual is not None
        layer = self.centring.layer
        assert isinstance(layer, LowRank)
        layer = _alone(layer)
        found = np.zeros((self.dual.shape[1], size(layer)))
        step = max(BLOCK // size(layer), 1)
        for start in range(0, len(self.dual), step):
            rows = slice(start, start + step)
            formed = layer.of(self.factors[rows]).reshape(-1, size(layer))
            if self.centring.root is not None:
                formed = formed - self.centring.root.reshape(-1)
            found += self.dual[rows].T @ formed
        return found.reshape(-1, *layer.shape)


def _alone(layer: LowRank) -> LowRank:
    found = alone(layer)
    assert isinstance(found, LowRank)
    return found
