"""Similarity of the errors of networks: intersection over union of error sets."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array

BLOCK = 1024


def error_overlap(wrong: Array, others: Array) -> Array:
    """Return the intersection over union of the samples that networks get wrong.

    Parameters
    ----------
    wrong : ndarray of bool, shape (n, samples)
        Samples that each of n networks misclassifies.
    others : ndarray of bool, shape (m, samples)
        Samples that each of m other networks misclassifies.

    Returns
    -------
    ndarray of shape (n, m)
        Values from 0 to 1; 1 for two networks without errors.

    Examples
    --------
    >>> one = np.array([[True, True, False]])
    >>> error_overlap(one, np.array([[True, False, True], [True, True, False]]))
    array([[0.33333333, 1.        ]])
    """
    intersection = wrong.astype(np.float32) @ others.astype(np.float32).T
    union = wrong.sum(1)[:, None] + others.sum(1)[None] - intersection.astype(np.float64)
    return np.divide(intersection, union, out=np.ones(intersection.shape), where=union > 0)


def largest_overlap(wrong: Array, others: Array) -> Array:
    """Return the largest overlap (n,) of each network with any of the others."""
    overlap = np.empty(len(wrong))
    for start in range(0, len(wrong), BLOCK):
        part = slice(start, start + BLOCK)
        overlap[part] = error_overlap(wrong[part], others).max(1)
    return overlap
