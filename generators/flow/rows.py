"""Training data of a flow: codes and conditions of networks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FlowRows:
    """Codes and conditions of networks.

    Attributes
    ----------
    codes : Tensor of shape (n, k)
        Codes of n networks.
    features : Tensor of shape (n, f) or None
        Features of their conditions.
    spans : tuple of slice
        Features of each column of the condition, which `Schedule.dropout` omits together.
    """

    codes: Tensor
    features: Tensor | None = None
    spans: tuple[slice, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return codes and features of some rows."""
        features = None if self.features is None else self.features[index]
        return self.codes[index], features

    def dropped(self, features: Tensor, share: float, draw: torch.Generator) -> Tensor:
        """Return features (b, f), with conditions and single columns set to 0 at random."""
        b = len(features)
        is_kept = torch.rand(b, 1, generator=draw) >= share
        features = features * is_kept
        if len(self.spans) > 1:
            for span in self.spans:
                features[:, span] *= torch.rand(b, 1, generator=draw) >= share
        return features
