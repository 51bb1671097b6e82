"""The linear effect of conditions on codes, where a conditional flow begins."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array


def linear_effect(codes: Array, features: Array) -> Array:
    """Coefficients (k, f) float32 of codes (n, k) on features (n, f), shrunk.

    Least squares times ``1 - 1/F``, the positive-part rule of James and Stein for all
    coefficients at once, F being the mean square that features explain over the residual
    one. Where every network has a dimension of its own (k = n - 1), F is 1 and nothing is
    left: least squares would then explain as much by chance.

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
    explained = float(((centred @ found) ** 2).sum())
    left = float(((codes - codes.mean(0) - centred @ found) ** 2).sum())
    if not rank or n - 1 <= rank or explained == 0:
        return np.zeros((codes.shape[1], features.shape[1]), np.float32)
    ratio = (explained / rank) / max(left / (n - 1 - rank), 1e-12 * explained)
    return (max(1 - 1 / ratio, 0.0) * found.T).astype(np.float32)
