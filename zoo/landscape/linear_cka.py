"""Linear centred kernel alignment (CKA) between the features of networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

BLOCK_FLOATS = 1 << 22
"""Number of values in double precision that one step works on."""


@dataclass(frozen=True)
class Features:
    """Centred features of k networks on the same inputs, ready to be compared.

    If there are at most as many features as samples, the features are kept; otherwise, as
    for the maps of a convolution, the Gram matrices of the samples are kept, which give
    the same CKA. All tensors are in double precision.

    Attributes
    ----------
    kept : Tensor of shape (k, samples, features) or (k, samples, samples)
        Centred features, or their Gram matrices.
    grams : bool
        Whether ``kept`` holds Gram matrices.
    squares : Tensor of shape (k, samples)
        Squared norm of the features of each sample.
    """

    kept: Tensor
    grams: bool
    squares: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """Return the centred features of values (k, samples, features).

        The values are not changed.
        """
        k, samples, width = values.shape
        if width <= samples:
            kept = _centred(values)
            return cls(kept, False, kept.square().sum(2))
        shape = (k, samples, samples)
        kept = torch.zeros(shape, dtype=torch.float64, device=values.device)
        for part in values.split(max(1, BLOCK_FLOATS // (k * samples)), 2):
            centred = _centred(part)
            kept.baddbmm_(centred, centred.mT)
        return cls(kept, True, kept.diagonal(dim1=1, dim2=2).clone())

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """Concatenate the networks of several `Features`."""
        return cls(
            torch.cat([part.kept for part in parts]),
            parts[0].grams,
            torch.cat([part.squares for part in parts]),
        )

    def cka(self, other: Features, pairs: Tensor, *, debiased: bool = False) -> Tensor:
        """Compute the CKA of pairs of networks.

        Parameters
        ----------
        other : Features
            Features of other networks on the same inputs, as many per network.
        pairs : Tensor of shape (m, 2)
            Row of a network in these features and row of a network in ``other``.
        debiased : bool, default=False
            Whether the inner products of the kernels are unbiased estimates (Song et
            al. 2012, and Kornblith et al. 2019). Biased CKA grows with the ratio of
            features to samples: independent noise of d features in n samples gets about
            d / (d + n). Unbiased CKA gets about 0, and may be slightly negative.

        Returns
        -------
        Tensor of shape (m,)
            CKA; NaN where the features of a network do not vary.

        Raises
        ------
        ValueError
            If there are fewer than 2 samples, or fewer than 4 with ``debiased``.
        """
        fewest = 4 if debiased else 2
        samples = self.squares.shape[1]
        if samples < fewest:
            raise ValueError(f"CKA needs at least {fewest} samples. Got {samples}.")
        rows, columns = pairs[:, 0], pairs[:, 1]
        inner = _inner(self, rows, other, columns, debiased)
        norms, other_norms = (_norms(features, debiased) for features in (self, other))
        square = norms[rows] * other_norms[columns]
        varies = (norms[rows] > 0) & (other_norms[columns] > 0)
        return torch.where(varies, inner / square.sqrt(), torch.nan)


def _centred(values: Tensor) -> Tensor:
    """Subtract the mean over the samples, in double precision."""
    # The mean of equal float32 values is exact in double precision: a constant gets 0.
    values = values.double()
    return values - values.mean(1, keepdim=True)


def _norms(features: Features, debiased: bool) -> Tensor:
    """Return the squared norms (k,) of the centred kernels."""
    rows = torch.arange(len(features.kept), device=features.kept.device)
    return _inner(features, rows, features, rows, debiased)


def _inner(
    first: Features, i: Tensor, second: Features, j: Tensor, debiased: bool
) -> Tensor:
    """Return the inner products (m,) of the centred kernels of networks i and j."""
    n, products = first.squares.shape[1], [first.kept.new_empty(0)]
    size = max(1, BLOCK_FLOATS // first.kept[:1].numel())
    for a, b in zip(i.split(size), j.split(size), strict=True):
        if first.grams:
            product = (first.kept[a] * second.kept[b]).sum((1, 2))
        else:
            product = torch.bmm(first.kept[a].mT, second.kept[b]).square().sum((1, 2))
        if debiased:
            p, q = first.squares[a], second.squares[b]
            product = product - n / (n - 2) * (p * q).sum(1)
            product += p.sum(1) * q.sum(1) / ((n - 1) * (n - 2))
        products.append(product)
    return torch.cat(products)
