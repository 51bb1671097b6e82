"""R: whether the large singular vectors of two networks point alike [1]_.

Weight matching lowers the distance of networks by little; what it does is to align the
singular vectors of large singular values. R is the mean over these of the product of the
inner products of left and right vectors: 1 for equal networks, about 0 for unrelated ones
(and for single layers it may be somewhat below).

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
    """R of pairs of networks, over all matrices and for each.

    Parameters
    ----------
    first, last : ndarray of shape (m, d)
        Finite.
    threshold : float, default=0.3
        Singular values count from this share of a matrix's largest on, in both networks.

    Returns
    -------
    total : ndarray of shape (m,)
        NaN where no tensor has two axes.
    layers : dict of str to ndarray of shape (m,)
        By tensor; kernels count as matrices of output units by all the rest.

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
        one, other = (
            w[:, columns].reshape(m, param.shape[0], -1).astype(np.float64)
            for w in (first, last)
        )
        u, s, v = np.linalg.svd(one, full_matrices=False)
        p, t, q = np.linalg.svd(other, full_matrices=False)
        kept = (s >= threshold * s[:, :1]) & (t >= threshold * t[:, :1]) & (s > 0) & (t > 0)
        like = np.einsum("moi,moi->mi", u, p) * np.einsum("mik,mik->mi", v, q)
        own, count = np.where(kept, like, 0).sum(1), kept.sum(1)
        layers[param.name] = _ratio(own, count)
        sums, counts = sums + own, counts + count
    return _ratio(sums, counts), layers


def _ratio(above: Array, below: Array) -> Array:
    out = np.full(len(above), np.nan)
    return np.divide(above, below, out=out, where=below > 0)
