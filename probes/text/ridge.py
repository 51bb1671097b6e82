"""Text search in closed form: ridge regression from weights to text embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from probes.exact.centring import Centring
from probes.exact.expert import Expert
from probes.exact.features import coefficients, unseen, unseen_by
from probes.exact.gram import joint_gram
from probes.exact.ridge import Spectrum, check_alphas
from probes.learning.bases import Bases, ridge_bases
from probes.text.closed_form import ClosedForm
from probes.text.encoders import unit
from probes.text.left_out_classes import beaten, parts_of_classes


@dataclass(eq=False, repr=False, kw_only=True)
class TextRidge(ClosedForm):
    """Exact ridge regression from weights to the text embedding of the class.

    Embeddings of the C training classes are centred and reduced to the C - 1 directions
    that they span.

    Parameters
    ----------
    encoder, template, root, scale, folds, random_state
        See `ClosedForm`.
    layout, layer
        See `Probe`. Several layers are joined to one long vector, after each is scaled
        separately.
    cores : int, optional
        Number of rows and columns of Tucker cores to fit, in bases from a first ridge
        regression (see `probes.learning.bases`). Default: whole matrices.
    alphas : sequence of float, optional
        Penalties to choose from. Default: 31 from 1e-6 to 1e6.

    Attributes
    ----------
    alpha_ : float
        Largest penalty whose share is within one standard error over classes of the
        highest share, because there are few classes and the path is noisy.
    path_ : ndarray of shape (len(alphas),)
        Share of the other left-out names that are less similar to a network than its own
        name, for networks of left-out classes. Chance level is 0.5.
    mean_, axes_ : ndarray of shape (e,) and (q, e)
        Mean and principal axes of the embeddings of training classes.

    Raises
    ------
    ValueError
        If there are fewer than 4 classes.

    References
    ----------
    .. [1] Kahana et al. 2024, arXiv:2410.13569, which aligns by gradient descent.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(40, 100))
    >>> y = np.repeat(["cat", "dog", "car", "ship"], 10)
    >>> probe = TextRidge(encoder="ngrams").fit(X, y)
    >>> probe.similarity(X[:2], ["cats", "a boat", "truck"]).shape
    (2, 3)
    """

    name: ClassVar[str] = "text_ridge"
    summary: ClassVar[str] = "exact ridge from weights to embeddings of class names"

    cores: int | None = None

    def embed(self, X: Array) -> Array:
        """Predict unit vectors (n, q) in the span of the embeddings of known classes."""
        X = self._checked(X)
        if self.cores is None:
            codes = sum(expert.scores(X) for expert in self.experts_) + self.intercept_
        else:
            codes = _features(X, self.bases_) @ self.coef_ + self.intercept_
        return unit(codes)

    def project(self, vectors: Array) -> Array:
        """Map text embeddings (m, e) to unit vectors (m, q)."""
        return unit((vectors - self.mean_) @ self.axes_.T)

    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        number = self._numbers(y)
        vectors = self._class_vectors()
        self.mean_ = vectors.mean(0)
        _, sizes, axes = np.linalg.svd(vectors - self.mean_, full_matrices=False)
        self.axes_ = axes[sizes > 1e-6 * max(sizes[0], 1e-6)]
        names = (vectors - self.mean_) @ self.axes_.T
        codes = names[number]
        alphas = check_alphas(self.alphas)
        shares = np.zeros((len(alphas), len(X)))
        K: Array | None = None
        centrings: tuple[Centring, ...] = ()
        if self.cores is None:
            K, centrings = joint_gram(X, self.layers_, self.root, self.scale)
        parts = parts_of_classes(len(names), self.folds, self.random_state)[number]
        for part in np.unique(parts):
            train, rest = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
            left_out = np.unique(number[rest])
            own_class = np.searchsorted(left_out, number[rest])
            errors = self._errors(X, K, codes, number, train, rest, alphas)
            for i, error in enumerate(errors):
                shares[i, rest] = beaten(codes[rest] - error, names[left_out], own_class)
        self.path_ = shares.mean(1)
        self.alpha_ = _strongest(np.asarray(alphas), shares, number)
        self._solve(X, K, centrings, codes, number)

    def _errors(
        self,
        X: Array,
        K: Array | None,
        codes: Array,
        number: Array,
        train: Array,
        rest: Array,
        alphas: Sequence[float],
    ) -> Iterator[Array]:
        if K is not None:
            return unseen_by(K, codes, train, rest, alphas, float(np.finfo(X.dtype).eps))
        Z = _features(X, self._bases(X, codes, number, train))
        return unseen(Z, codes, train, rest, alphas)

    def _solve(
        self,
        X: Array,
        K: Array | None,
        centrings: tuple[Centring, ...],
        codes: Array,
        number: Array,
    ) -> None:
        if K is None:
            self.bases_ = self._bases(X, codes, number, np.arange(len(X)))
            solution = coefficients(_features(X, self.bases_), codes, self.alpha_)
            self.coef_, self.intercept_ = solution
            return
        mean = K.mean(0)
        spectrum = Spectrum.of_gram(K, float(np.finfo(X.dtype).eps))
        dual = spectrum.dual(codes - codes.mean(0), self.alpha_)
        self.experts_ = tuple(Expert.of(X, centring, dual) for centring in centrings)
        self.intercept_ = codes.mean(0) - mean @ dual

    def _bases(
        self, X: Array, codes: Array, number: Array, train: Array
    ) -> tuple[Bases, ...]:
        assert self.cores is not None
        return ridge_bases(
            X, codes, number, train, self.layers_, self.root, self.scale, self.cores
        )

    def _scores(self, X: Array) -> Array:
        vectors = self._embedded([str(name) for name in self.classes_])
        return self._columns(self.embed(X) @ self.project(vectors).T)


def _strongest(alphas: Array, shares: Array, number: Array) -> float:
    """Return the largest penalty within one standard error over classes of the best."""
    counts = np.bincount(number)
    class_shares = np.stack([np.bincount(number, row) for row in shares]) / counts
    deficits = class_shares[class_shares.mean(1).argmax()] - class_shares
    standard_error = deficits.std(1, ddof=1) / np.sqrt(len(counts))
    return float(alphas[deficits.mean(1) <= standard_error].max())


def _features(X: Array, bases: Sequence[Bases]) -> Array:
    """Join the cores of all layers, float64 (n, q)."""
    return np.concatenate(
        [b.cores(X).reshape(len(X), -1).astype(np.float64) for b in bases], axis=1
    )
