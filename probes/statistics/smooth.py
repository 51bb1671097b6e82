"""Ridge regression on a Gaussian kernel: smooth functions of a few features, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from probes.exact.ridge import Spectrum, best, path

WIDTHS = (0.3, 1.0, 3.0, 10.0)
"""Of the kernel, in units of the median squared distance."""
LANDMARKS = 2000
"""Training rows that the function is a sum over; more are drawn from."""


@dataclass(frozen=True)
class Smooth:
    """A sum of Gaussian bumps at training rows.

    Attributes
    ----------
    landmarks : ndarray of shape (m, p)
    width : float
        Squared distance at which a bump has fallen to 1 / e.
    weights : ndarray of shape (m, width of y)
    intercept : ndarray of shape (width of y,)
    alpha, score : float
        The chosen penalty, and its mean R2 on held-out groups.
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
        """Fit features (n, p) to targets (n, width), choosing on held-out groups.

        Up to `LANDMARKS` rows it is exact kernel ridge; beyond, of the functions that are
        sums over as many rows (Nystroem [1]_). Takes some matrices of n x m float64.

        References
        ----------
        .. [1] Williams and Seeger 2001, NeurIPS 13.
        """
        m = min(len(A), LANDMARKS)
        chosen = np.sort(np.random.default_rng(seed).permutation(len(A))[:m])
        landmarks = A[chosen]
        squares = _squares(landmarks, landmarks)
        apart = squares[np.triu_indices(m, 1)]
        unit = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
        found: list[Smooth] = []
        for relative in widths:
            width = relative * unit
            values, axes = np.linalg.eigh(np.exp(-squares / width))
            good = values > values.max() * m * np.finfo(np.float64).eps
            root = axes[:, good] / np.sqrt(values[good])
            Z = np.exp(-_squares(A, landmarks) / width) @ root
            mean = Z.mean(0)
            features = Z if Z.shape[1] < len(Z) else Z @ Z.T
            of = Spectrum.of_features if Z.shape[1] < len(Z) else Spectrum.of_gram
            spectrum = of(features.copy())
            scores = path(spectrum, y, groups, alphas).mean(1)
            alpha = best(alphas, scores)
            slope = (Z - mean).T @ spectrum.dual(y - y.mean(0), alpha)
            found.append(
                cls(
                    landmarks,
                    width,
                    root @ slope,
                    y.mean(0) - mean @ slope,
                    alpha,
                    float(scores.max()),
                )
            )
        return max(found, key=lambda one: one.score)

    def scores(self, A: Array) -> Array:
        """Values (n, width of y) at features (n, p)."""
        bumps = np.exp(-_squares(A, self.landmarks) / self.width)
        found: Array = bumps @ self.weights + self.intercept
        return found


def _squares(A: Array, B: Array) -> Array:
    """Squared distances (n, m)."""
    inner = A @ B.T
    inner *= -2
    inner += np.einsum("ij,ij->i", A, A)[:, None]
    inner += np.einsum("ij,ij->i", B, B)
    return np.maximum(inner, 0, out=inner)
