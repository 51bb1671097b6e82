"""Alignment R of the large singular vectors of two networks [1]_.

Weight matching lowers the distance of networks only a little; its effect is to align the
singular vectors of large singular values. R is the mean, over these singular values, of
the product of the inner products of left and right vectors: 1 for equal networks, about 0
for unrelated networks (for single layers R may be somewhat below 0).

References
----------
.. [1] Ito et al. 2024, arXiv:2402.04051.
"""

from __future__ import annotations

import numpy as np

from catalog import Layout
from catalog.dtypes import Array


def singular_alignment(
    first: Array, last: Array, layout: Layout, *, threshold: float = 0.3
) -> tuple[Array, dict[str, Array]]:
    """Compute R of pairs of networks, over all matrices and for each matrix.

    Parameters
    ----------
    first, last : ndarray of shape (m, d)
        Weights of the two networks of each pair; must be finite.
    layout : Layout
        Layout of one network.
    threshold : float, default=0.3
        Smallest singular value that counts, as a share of the largest singular value of
        the matrix, in both networks.

    Returns
    -------
    total : ndarray of shape (m,)
        R over all matrices; NaN where no tensor has two axes.
    layers : dict of str to ndarray of shape (m,)
        R by tensor; a kernel is a matrix of output units by all other axes.

    Raises
    ------
    ValueError
        If the threshold is not above 0 and at most 1.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be above 0 and at most 1. Got {threshold!r}.")
    m = len(first)
    sums, counts, layers = np.zeros(m), np.zeros(m), {}
    for param in layout:
        if param.role != "parameter" or len(param.shape) < 2 or not param.size:
            continue
        columns = layout.slices[param.name]
        first_matrix, last_matrix = (
            w[:, columns].reshape(m, param.shape[0], -1).astype(np.float64)
            for w in (first, last)
        )
        u, s, v = np.linalg.svd(first_matrix, full_matrices=False)
        p, t, q = np.linalg.svd(last_matrix, full_matrices=False)
        is_large = (
            (s >= threshold * s[:, :1]) & (t >= threshold * t[:, :1]) & (s > 0) & (t > 0)
        )
        agreement = np.einsum("moi,moi->mi", u, p) * np.einsum("mik,mik->mi", v, q)
        agreements, count = np.where(is_large, agreement, 0).sum(1), is_large.sum(1)
        layers[param.name] = _ratio(agreements, count)
        sums, counts = sums + agreements, counts + count
    return _ratio(sums, counts), layers


def _ratio(above: Array, below: Array) -> Array:
    """Divide; NaN where the divisor is not positive."""
    out = np.full(len(above), np.nan)
    return np.divide(above, below, out=out, where=below > 0)
