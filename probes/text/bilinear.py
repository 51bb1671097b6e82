"""Text search in closed form: ridge regression of classes on weights and on texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from probes.exact.expert import Expert
from probes.exact.gram import gram
from probes.exact.ridge import Spectrum, centre, check_alphas, held_out_errors
from probes.text.closed_form import ClosedForm
from probes.text.encoder import TEMPLATES, Encoder
from probes.text.encoders import unit
from probes.text.left_out_classes import ClassesLeftOut, name_coefficients, onehot

ALPHAS = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Penalties of the weights that are tried by default."""
BETAS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Penalties of the texts that are tried by default."""


@dataclass(eq=False, repr=False, kw_only=True)
class TextBilinear(ClosedForm):
    """Similarity of networks and texts by their relation to the training classes [1]_.

    A network is represented by its ridge scores on the C training classes, a text by its
    ridge coefficients on the names of these classes; the similarity is the cosine of the
    two vectors. A name is thus compared with all classes that a network resembles, whereas
    the name nearest to the most similar class ignores the other classes. Every layer has a
    kernel of the same mean diagonal. Penalties of both sides are chosen on classes that are
    left out together; names that are tried later have no part in the choice.

    Parameters
    ----------
    encoder, layout, layer, root, scale, folds, random_state
        See `ClosedForm`.
    template : str or sequence of str
        See `TextAligned`. Default: the mean of nine prompts.
    alphas, betas : sequence of float, optional
        Penalties of weights and of texts to choose from, relative to the mean squared norm
        of the respective side. Default: `ALPHAS`, `BETAS`.

    Attributes
    ----------
    alpha_, beta_ : float
        Penalties with the highest share; of equal ones the largest.
    path_ : ndarray of shape (len(alphas), len(betas))
        Share of the other left-out names that are less similar to a network than its own
        name, for networks of left-out classes, averaged over classes. Chance level is 0.5.
        The highest of many shares is slightly optimistic; `unseen_` is not.
    unseen_ : ndarray of shape (C,)
        Share of each class with the penalties that are best on the other folds, each left
        out together with the fold of the class. NaN with fewer than 6 classes, if there
        are penalties to choose from.
    left_out_ : ndarray of shape (n, C) or None
        `embed` of each training network by the exact fit without its group; roots, scales
        and penalties are those of all networks. None if all networks are one group.
    mean_, names_ : ndarray of shape (e,) and (C, e)
        Mean of the embedded names, and unit vectors from the mean to the names.

    Raises
    ------
    ValueError
        If there are fewer than 4 classes.

    References
    ----------
    .. [1] Romera-Paredes and Torr 2015, ICML: an embarrassingly simple approach to
       zero-shot learning. Differs: every candidate has unit length, as otherwise some
       candidates are predicted for all networks; every layer has a kernel.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(40, 100))
    >>> y = np.repeat(["cat", "dog", "car", "ship"], 10)
    >>> probe = TextBilinear(encoder="ngrams").fit(X, y)
    >>> probe.similarity(X[:2], ["cats", "a boat", "truck"]).shape
    (2, 3)
    """

    name: ClassVar[str] = "text_bilinear"
    summary: ClassVar[str] = "exact ridge on weights and on names of classes"

    template: str | Sequence[str] = TEMPLATES
    betas: Sequence[float] | None = None

    def embed(self, X: Array) -> Array:
        """Return unit vectors (n, C) of scores on the training classes."""
        return unit(self._scores(self._checked(X)))

    def project(self, vectors: Array) -> Array:
        """Map text embeddings (m, e) to unit vectors (m, C) of coefficients on names."""
        texts = unit(vectors - self.mean_)
        return unit(name_coefficients(self.names_, texts, self.beta_))

    def left_out_similarity(
        self, texts: Sequence[str], encoder: Encoder | None = None
    ) -> Array:
        """Return `similarity` (n, m) of each training network by the fit without its group.

        Raises
        ------
        ValueError
            If all training networks were one group.
        """
        if self.left_out_ is None:
            raise ValueError(
                "All training networks were one group, so there is no fit without a group. "
                "Fit with groups of several values, such as run ids, or None."
            )
        cosines: Array = self.left_out_ @ self.project(self._embedded(texts, encoder)).T
        return cosines

    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        alphas = check_alphas(ALPHAS if self.alphas is None else self.alphas)
        betas = check_alphas(BETAS if self.betas is None else self.betas)
        number = self._numbers(y)
        vectors = self._class_vectors()
        eps = float(np.finfo(X.dtype).eps)
        K, parts = np.zeros((len(X), len(X))), []
        for layer in self.layers_:
            kernel, centring = gram(X, layer, self.root, self.scale)
            mean = kernel.mean(0)
            if size := centre(kernel, eps):
                K += kernel / size
                parts.append((centring, size, mean))
        self._choose(K, number, vectors, alphas, betas, eps)
        self.mean_ = vectors.mean(0)
        self.names_ = unit(vectors - self.mean_)
        targets = onehot(number, np.arange(len(vectors)))
        spectrum = Spectrum.of_gram(K, eps)
        dual = spectrum.dual(targets - targets.mean(0), self.alpha_)
        self.left_out_ = _left_out(spectrum, targets, groups, self.alpha_)
        self.experts_ = tuple(Expert.of(X, c, dual / size) for c, size, _ in parts)
        self.intercept_ = np.zeros(len(vectors))
        for _, size, mean in parts:
            self.intercept_ -= mean @ dual / size

    def _choose(
        self,
        K: Array,
        number: Array,
        vectors: Array,
        alphas: Sequence[float],
        betas: Sequence[float],
        eps: float,
    ) -> None:
        classes = ClassesLeftOut.dealt(
            K, number, vectors, alphas, betas, self.folds, self.random_state, eps
        )
        shares = classes.shares()
        self.path_ = shares.mean(-1)
        i, j = classes.best(self.path_)
        self.alpha_, self.beta_ = float(alphas[i]), float(betas[j])
        self.unseen_ = classes.nested(shares)

    def _scores(self, X: Array) -> Array:
        parts = (expert.scores(X) for expert in self.experts_)
        start = np.tile(self.intercept_, (len(X), 1))
        scores: Array = sum(parts, start=start)
        return scores


def _left_out(
    spectrum: Spectrum, targets: Array, groups: Array, alpha: float
) -> Array | None:
    """Embed networks as unit vectors (n, C) float32, by fits without their groups (n,)."""
    rows = np.bincount(groups)
    if len(rows) < 2:
        return None
    sums = np.zeros((len(rows), targets.shape[1]))
    np.add.at(sums, groups, targets)
    level = ((targets.sum(0) - sums) / (len(targets) - rows)[:, None])[groups]
    errors = held_out_errors(spectrum, targets, groups, alpha)
    return unit(targets - errors - level).astype(np.float32)
