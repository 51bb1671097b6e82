"""Exact ridge regression with a Gaussian kernel, for smooth functions of few features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from probes.exact.ridge import Spectrum, best, path

WIDTHS = (0.3, 1.0, 3.0, 10.0)
"""Candidate widths of the kernel, in units of the median squared distance."""
LANDMARKS = 2000
"""Maximum number of kernel centres, drawn at random from more training rows."""


@dataclass(frozen=True)
class Smooth:
    """Sum of Gaussian kernels that are centred at training rows.

    Attributes
    ----------
    landmarks : ndarray of shape (m, p)
        Centres of the kernels: features of training rows.
    width : float
        Squared distance at which the kernel has fallen to 1 / e.
    weights : ndarray of shape (m, width of y)
        Weight of each kernel for each target.
    intercept : ndarray of shape (width of y,)
        Intercept of each target.
    alpha, score : float
        Chosen penalty, and its mean R2 on held-out groups.
    """

    landmarks: Array
    width: float
    weights: Array
    intercept: Array
    alpha: float
    score: float

    @classmethod
    def of(
        cls,
        A: Array,
        y: Array,
        groups: Array,
        alphas: tuple[float, ...],
        seed: int,
        widths: Sequence[float] = WIDTHS,
    ) -> Smooth:
        """Fit targets (n, width) to features (n, p), choosing on held-out groups.

        Up to `LANDMARKS` rows the fit is exact kernel ridge; beyond, it is exact among sums
        over `LANDMARKS` rows (Nystroem [1]_). Memory is some matrices of n x m float64.

        References
        ----------
        .. [1] Williams and Seeger 2001, NeurIPS 13.
        """
        m = min(len(A), LANDMARKS)
        rows = np.sort(np.random.default_rng(seed).permutation(len(A))[:m])
        landmarks = A[rows]
        squares = _squares(landmarks, landmarks)
        pair_squares = squares[np.triu_indices(m, 1)]
        unit = (
            float(np.median(pair_squares[pair_squares > 0]))
            if (pair_squares > 0).any()
            else 1.0
        )
        fits: list[Smooth] = []
        for relative in widths:
            width = relative * unit
            values, axes = np.linalg.eigh(np.exp(-squares / width))
            significant = values > values.max() * m * np.finfo(np.float64).eps
            root = axes[:, significant] / np.sqrt(values[significant])
            Z = np.exp(-_squares(A, landmarks) / width) @ root
            mean = Z.mean(0)
            features = Z if Z.shape[1] < len(Z) else Z @ Z.T
            decompose = Spectrum.of_features if Z.shape[1] < len(Z) else Spectrum.of_gram
            spectrum = decompose(features.copy())
            scores = path(spectrum, y, groups, alphas).mean(1)
            alpha = best(alphas, scores)
            slope = (Z - mean).T @ spectrum.dual(y - y.mean(0), alpha)
            fits.append(
                cls(
                    landmarks,
                    width,
                    root @ slope,
                    y.mean(0) - mean @ slope,
                    alpha,
                    float(scores.max()),
                )
            )
        return max(fits, key=lambda fit: fit.score)

    def scores(self, A: Array) -> Array:
        """Predict values (n, width of y) from features (n, p)."""
        bumps = np.exp(-_squares(A, self.landmarks) / self.width)
        values: Array = bumps @ self.weights + self.intercept
        return values


def _squares(A: Array, B: Array) -> Array:
    """Compute squared distances (n, m)."""
    inner = A @ B.T
    inner *= -2
    inner += np.einsum("ij,ij->i", A, A)[:, None]
    inner += np.einsum("ij,ij->i", B, B)
    return np.maximum(inner, 0, out=inner)
