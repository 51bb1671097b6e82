"""Linear effect of conditions on codes, which a conditional flow starts from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from catalog.dtypes import Array
from generators.flow.rows import FlowRows

COLLINEAR = 1e-5
"""Share of the largest variance of features below which a variance is rounding error."""


class Effect(nn.Module):
    """Shift of the mean of codes given some features, as if both were Gaussian.

    ``weight (c - mean)``, where columns that are not given have the values expected of
    networks with the given ones: one column alone shifts codes as a regression on this
    column alone, with whatever is correlated with it; no column does not shift them. The
    effect of a name is the mean of its networks minus the mean of all.

    Before `begin`, features have mean 0 and are uncorrelated.

    Parameters
    ----------
    features : int
        Number of features of all columns, see `Conditions`; all features of a column are 0
        if it is not given.
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
        """Estimate mean, covariance and weight from networks with features."""
        assert rows.features is not None
        features = rows.features.double()
        centred = features - features.mean(0)
        self.mean.copy_(features.mean(0))
        self.covariance.copy_(centred.T @ centred / len(rows))
        for column, span in enumerate(rows.spans):
            self.column[span] = column
        weight = linear_effect(rows.codes.numpy(), rows.features.numpy())
        self.weight.copy_(torch.from_numpy(weight))

    def forward(self, features: Tensor) -> Tensor:
        """Return the effect (b, k) of features (b, f)."""
        columns = nn.functional.one_hot(self.column).to(features.dtype)
        is_given = (features != 0).to(features.dtype) @ columns > 0
        is_known = is_given[:, self.column]
        offsets = (features - self.mean) * is_known
        for pattern in torch.unique(is_known, dim=0):
            if pattern.any() and not pattern.all():
                rows = (is_known == pattern).all(1)
                offsets[rows] = offsets[rows] @ self._expected(pattern)
        return offsets @ self.weight.T

    def _expected(self, is_known: Tensor) -> Tensor:
        """Return the matrix from known features, the others 0, to all expected features."""
        covariances = is_known[:, None] * self.covariance
        inverse = torch.linalg.pinv(covariances * is_known, rtol=COLLINEAR, hermitian=True)
        return inverse @ covariances


def linear_effect(codes: Array, features: Array) -> Array:
    """Return the shrunk coefficients (k, f) float32 of codes (n, k) on features (n, f).

    Codes and features are centred. The coefficients are least squares, multiplied by ``1 -
    1/F`` (the positive-part rule of James and Stein) for each code separately, where F is
    the mean square that features explain over the residual one: effects that may be due to
    chance vanish, and effects that a few codes hold remain.

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
    coefficients, _, rank, _ = np.linalg.lstsq(
        centred, codes.astype(np.float64), rcond=1e-6
    )
    fitted = centred @ coefficients
    freedom = n - 1 - rank
    if not rank or freedom < 1:
        return np.zeros((codes.shape[1], features.shape[1]), np.float32)
    explained = (fitted**2).sum(0) / rank
    residual = ((codes - codes.mean(0) - fitted) ** 2).sum(0) / freedom
    factor = np.zeros(len(residual))
    np.divide(explained - residual, explained, out=factor, where=explained > residual)
    return (factor[:, None] * coefficients.T).astype(np.float32)
