"""Linear centred kernel alignment (CKA) between the features of networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

BLOCK_FLOATS = 1 << 22
"""Values in double precision that a step works on."""


@dataclass(frozen=True)
class Features:
    """Centred features of k networks on the same inputs, ready to be compared.

    What has fewer features than samples is kept; of the rest, such as maps of a
    convolution, the Gram matrices of the samples are, which give the same numbers. All
    is in double precision.

    Attributes
    ----------
    kept : Tensor of shape (k, samples, features) or (k, samples, samples)
        Centred features, or their Gram matrices.
    grams : bool
        Whether it is Gram matrices.
    squares : Tensor of shape (k, samples)
        Squared norm of the features of each sample.
    """

    kept: Tensor
    grams: bool
    squares: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """From values (k, samples, features), which are not changed."""
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
        """The networks of several, one after the other."""
        return cls(
            torch.cat([part.kept for part in parts]),
            parts[0].grams,
            torch.cat([part.squares for part in parts]),
        )

    def cka(self, other: Features, pairs: Tensor, *, debiased: bool = False) -> Tensor:
        """CKA of pairs of networks.

        Parameters
        ----------
        other : Features
            Of as many features, on the same inputs.
        pairs : Tensor of shape (m, 2)
            Network of these, network of the others.
        debiased : bool, default=False
            Whether the inner products of the kernels are unbiased estimates (Song et
            al. 2012, and Kornblith et al. 2019). Biased ones grow with features over
            samples: independent noise of d features in n samples gets about
            d / (d + n). Unbiased ones get 0, and may be a little below it.

        Returns
        -------
        Tensor of shape (m,)
            NaN where the features of one do not vary.

        Raises
        ------
        ValueError
            If there are fewer samples than the estimate needs.
        """
        least = 4 if debiased else 2
        samples = self.squares.shape[1]
        if samples < least:
            raise ValueError(
                f"CKA needs at least {least} samples. Got {samples}: give more."
            )
        rows, columns = pairs[:, 0], pairs[:, 1]
        between = _inner(self, rows, other, columns, debiased)
        mine, others = (_norms(features, debiased) for features in (self, other))
        square = mine[rows] * others[columns]
        varies = (mine[rows] > 0) & (others[columns] > 0)
        return torch.where(varies, between / square.sqrt(), torch.nan)


def _centred(values: Tensor) -> Tensor:
    # The mean of equal float32 values is exact in double precision: a constant gets 0.
    values = values.double()
    return values - values.mean(1, keepdim=True)


def _norms(features: Features, debiased: bool) -> Tensor:
    """Squared norms (k,) of the centred kernels."""
    every = torch.arange(len(features.kept), device=features.kept.device)
    return _inner(features, every, features, every, debiased)


def _inner(one: Features, i: Tensor, two: Features, j: Tensor, debiased: bool) -> Tensor:
    """Inner products (m,) of the centred kernels of networks i and j."""
    n, found = one.squares.shape[1], [one.kept.new_empty(0)]
    size = max(1, BLOCK_FLOATS // one.kept[:1].numel())
    for a, b in zip(i.split(size), j.split(size), strict=True):
        if one.grams:
            product = (one.kept[a] * two.kept[b]).sum((1, 2))
        else:
            product = torch.bmm(one.kept[a].mT, two.kept[b]).square().sum((1, 2))
        if debiased:
            p, q = one.squares[a], two.squares[b]
            product = product - n / (n - 2) * (p * q).sum(1)
            product += p.sum(1) * q.sum(1) / ((n - 1) * (n - 2))
        found.append(product)
    return torch.cat(found)
