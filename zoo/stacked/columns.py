"""Linear maps of n networks on features that lie first: ``(n, features, positions)``.

Transformers keep the positions of all samples innermost. Products then have long rows
whatever the width, a normalisation over features adds long rows, and a head is a block
of rows.
"""

from __future__ import annotations

import torch
from torch import Tensor


def linear_columns(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Affine map of every column.

    Parameters
    ----------
    x : Tensor of shape (n, inputs, m)
        Columns.
    w : Tensor of shape (n, outputs, inputs)
        Weights.
    b : Tensor of shape (n, outputs), optional
        Biases.

    Returns
    -------
    Tensor of shape (n, outputs, m)
    """
    if b is None:
        return torch.bmm(w, x)
    return torch.baddbmm(b.unsqueeze(2), w, x)
