"""Test whether samples are nearer to training networks than held-out networks are."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from catalog.dtypes import Array


def copying_score(sampled: Array, heldout: Array) -> float:
    """Return Z_U of Meehan et al. [1]_: the Mann-Whitney statistic, standardised.

    Parameters
    ----------
    sampled, heldout : ndarray of shape (n,) and (m,)
        Distances to the nearest training network.

    Returns
    -------
    float
        Standard normal if both are distances of one distribution. Negative if samples are
        nearer, that is copied, with certainty below -3; positive if they are farther.

    References
    ----------
    .. [1] Meehan, Chaudhuri, Dasgupta, 2020, arXiv:2004.05675. Difference: there is
       one region, so no sum over regions.

    Examples
    --------
    >>> copying_score(np.array([0.1, 0.2]), np.array([1.0, 1.1])) < 0
    True
    """
    n, m = len(sampled), len(heldout)
    ranks = rankdata(np.concatenate([sampled, heldout]))
    u = ranks[:n].sum() - n * (n + 1) / 2
    _, ties = np.unique(ranks, return_counts=True)
    total = n + m
    variance = n * m / 12 * (total + 1 - (ties**3 - ties).sum() / (total * (total - 1)))
    return float((u - n * m / 2) / np.sqrt(variance)) if variance > 0 else 0.0
