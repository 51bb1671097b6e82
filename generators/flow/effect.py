"""The linear effect of conditions on codes, where a conditional flow begins."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array


def linear_effect(codes: Array, features: Array) -> Array:
    """Coefficients (k, f) float32 of codes (n, k) on features (n, f), shrunk.

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
