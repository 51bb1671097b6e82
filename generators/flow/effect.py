"""The linear effect of conditions on codes, where a conditional flow begins."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from catalog.dtypes import Array
from generators.flow.rows import FlowRows

COLLINEAR = 1e-5
"""Of the largest: smaller variances of features are rounding."""


class Effect(nn.Module):
    """By how much codes with some features lie off the mean of all, were both Gaussian.

    ``weight (c - mean)``, where the columns that are not asked for have the values to be
    expected of networks with those that are: one column alone moves codes as a regression
    on that column alone, whatever goes along with it; none does not move them. The effect
    of a name is the mean of its networks minus the mean of all.

    Before `begin`, features count from 0 and go along with no others.

    Parameters
    ----------
    features : int
        Of all columns, see `Conditions`; all features of a column are 0 where it is not
        asked for.
    k : int
        Length of a code.
    """

    mean: Tensor
    covariance: Tensor
    column: Tensor

    def __init__(self, features: int, k: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(k, features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("covariance", torch.eye(features))
        self.register_buffer("column", torch.zeros(features, dtype=torch.int64))

    @torch.no_grad()
    def begin(self, rows: FlowRows) -> None:
        """Set all from networks with features."""
        assert rows.features is not None
        features = rows.features.double()
        centred = features - features.mean(0)
        self.mean.copy_(features.mean(0))
        self.covariance.copy_(centred.T @ centred / len(rows))
        for place, span in enumerate(rows.spans):
            self.column[span] = place
        found = linear_effect(rows.codes.numpy(), rows.features.numpy())
        self.weight.copy_(torch.from_numpy(found))

    def forward(self, features: Tensor) -> Tensor:
        """The effect (b, k) of features (b, f)."""
        columns = nn.functional.one_hot(self.column).to(features.dtype)
        asked = (features != 0).to(features.dtype) @ columns > 0
        known = asked[:, self.column]
        off = (features - self.mean) * known
        for pattern in torch.unique(known, dim=0):
            if pattern.any() and not pattern.all():
                rows = (known == pattern).all(1)
                off[rows] = off[rows] @ self._expected(pattern)
        return off @ self.weight.T

    def _expected(self, known: Tensor) -> Tensor:
        """What takes the known features (b, f), the others being 0, to all of them."""
        across = known[:, None] * self.covariance
        own = torch.linalg.pinv(across * known, rtol=COLLINEAR, hermitian=True)
        return own @ across


def linear_effect(codes: Array, features: Array) -> Array:
    """Coefficients (k, f) float32 of centred codes (n, k) on centred features, shrunk.

    Least squares, times ``1 - 1/F`` (the positive-part rule of James and Stein) for each
    code by itself, F being the mean square that features explain over the residual one:
    what could as well be chance goes, what a few codes hold stays.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> z = rng.standard_normal((500, 1))
    >>> linear_effect(z @ [[2.0, 1.0]], z).round(2)
    array([[2.],
           [1.]], dtype=float32)
    """
    n = len(codes)
    centred = features - features.mean(0, dtype=np.float64)
    found, _, rank, _ = np.linalg.lstsq(centred, codes.astype(np.float64), rcond=1e-6)
    fitted = centred @ found
    freedom = n - 1 - rank
    if not rank or freedom < 1:
        return np.zeros((codes.shape[1], features.shape[1]), np.float32)
    explained = (fitted**2).sum(0) / rank
    left = ((codes - codes.mean(0) - fitted) ** 2).sum(0) / freedom
    kept = np.zeros(len(left))
    np.divide(explained - left, explained, out=kept, where=explained > left)
    return (kept[:, None] * found.T).astype(np.float32)
