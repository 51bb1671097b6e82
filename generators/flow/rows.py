"""Networks as a flow sees them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FlowRows:
    """Networks as a flow sees them.

    Attributes
    ----------
    codes : Tensor of shape (n, k)
    features : Tensor of shape (n, f) or None
        Of their conditions.
    spans : tuple of slice
        Features of each column of the condition: what `Schedule.dropout` leaves out.
    """

    codes: Tensor
    features: Tensor | None = None
    spans: tuple[slice, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Some rows."""
        features = None if self.features is None else self.features[index]
        return self.codes[index], features

    def dropped(self, features: Tensor, share: float, draw: torch.Generator) -> Tensor:
        """Features (b, f) with conditions left out: of a row, and of single columns."""
        b = len(features)
        kept = torch.rand(b, 1, generator=draw) >= share
        features = features * kept
        if len(self.spans) > 1:
            for span in self.spans:
                features[:, span] *= torch.rand(b, 1, generator=draw) >= share
        return features
