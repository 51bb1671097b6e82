"""Linear prediction of a metadata column from codes, to guide samples towards values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array

PENALTIES = np.logspace(-4, 6, 41)
"""Candidate penalties, relative to the mean squared singular value of the codes."""


@dataclass(frozen=True)
class Predictor:
    """Ridge regression with the penalty of the lowest leave-one-out error.

    Attributes
    ----------
    coefficients : ndarray of shape (k,), float32
        Units of the column per unit of each code.
    intercept : float
        Value of the column for the code 0.
    error : float
        Leave-one-out root mean squared error, in units of the column.
    skill : float
        Leave-one-out R^2; at or below 0 the codes do not predict the column.
    low, high : float
        Smallest and largest value of the column in training.
    """

    coefficients: Array
    intercept: float
    error: float
    skill: float
    low: float
    high: float

    @classmethod
    def fit(cls, codes: Array, y: Array) -> Predictor:
        """Fit to the codes (n, k) of training networks and a column (n,).

        Codes are principal components, so their columns are orthogonal over the training
        rows, and one pass gives the whole path of penalties.

        Examples
        --------
        >>> codes = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
        >>> Predictor.fit(codes, codes[:, 0] + 5).coefficients.round(3)
        array([1., 0.], dtype=float32)
        """
        y = np.asarray(y, np.float64)
        squares = np.einsum("nk,nk->k", codes, codes, dtype=np.float64)
        covariances = codes.T.astype(np.float64) @ (y - y.mean())
        best = (np.inf, np.zeros(len(covariances)))
        for penalty in PENALTIES * squares.mean():
            w = covariances / (squares + penalty)
            leverage = 1 / len(y) + (codes**2) @ (1 / (squares + penalty))
            if leverage.max() >= 1 - 1e-6:  # no other row predicts this one
                continue
            residuals = (y - y.mean() - codes @ w) / (1 - leverage)
            best = min(
                best, (float((residuals**2).mean()), w), key=lambda candidate: candidate[0]
            )
        error, w = best
        skill = 1 - error / float(y.var())
        low, high = float(y.min()), float(y.max())
        return cls(
            w.astype(np.float32), float(y.mean()), float(np.sqrt(error)), skill, low, high
        )
