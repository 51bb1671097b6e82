"""A column of metadata as a linear function of codes: what samples can be drawn towards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array

PENALTIES = np.logspace(-4, 6, 41)
"""Candidates, in parts of the mean squared singular value of the codes."""


@dataclass(frozen=True)
class Predictor:
    """Ridge regression whose penalty has the least leave-one-out error.

    Attributes
    ----------
    coefficients : ndarray of shape (k,), float32
        Units of the column per unit of each code.
    intercept : float
    error : float
        Leave-one-out root mean squared error, in units of the column.
    skill : float
        Leave-one-out R^2; at or below 0 the codes tell nothing.
    low, high : float
        Of the column in training.
    """

    coefficients: Array
    intercept: float
    error: float
    skill: float
    low: float
    high: float

    @classmethod
    def fit(cls, codes: Array, y: Array) -> Predictor:
        """Learn from the codes (n, k) of training networks and a column (n,).

        Codes are principal components, so their columns are orthogonal over the rows they
        were learned from, which makes the whole path of penalties one pass.

        Examples
        --------
        >>> codes = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
        >>> Predictor.fit(codes, codes[:, 0] + 5).coefficients.round(3)
        array([1., 0.], dtype=float32)
        """
        y = np.asarray(y, np.float64)
        squares = np.einsum("nk,nk->k", codes, codes, dtype=np.float64)
        along = codes.T.astype(np.float64) @ (y - y.mean())
        best = (np.inf, np.zeros(len(along)))
        for penalty in PENALTIES * squares.mean():
            w = along / (squares + penalty)
            leverage = 1 / len(y) + (codes**2) @ (1 / (squares + penalty))
            if leverage.max() >= 1 - 1e-6:  # a row that nothing else predicts
                continue
            off = (y - y.mean() - codes @ w) / (1 - leverage)
            best = min(best, (float((off**2).mean()), w), key=lambda one: one[0])
        error, w = best
        skill = 1 - error / float(y.var())
        low, high = float(y.min()), float(y.max())
        return cls(
            w.astype(np.float32), float(y.mean()), float(np.sqrt(error)), skill, low, high
        )
