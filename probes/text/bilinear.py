"""Text search in closed form: ridge on both sides, from weights to classes to texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from catalog import Layout
from catalog.dtypes import Array
from probes.exact.expert import Expert
from probes.exact.gram import gram
from probes.exact.ridge import Spectrum, centre, check_alphas, held_out_errors
from probes.text.aligned import TextAligned
from probes.text.encoder import TEMPLATES, Encoder
from probes.text.encoders import unit
from probes.text.left_out_classes import ClassesLeftOut, coefficients, onehot

ALPHAS = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Penalties of the weights tried by default."""
BETAS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Penalties of the texts tried by default."""


class TextBilinear(TextAligned):
    """Compare what a network and a text each have in common with training classes [1]_.

    A network becomes its ridge scores on the C training classes, a text its ridge
    coefficients on their names; the similarity is the cosine of the two vectors. So a name
    is compared with all classes that a network is more or less like, where the nearest
    name to the one class that it is most like loses the others. Every layer has a kernel
    of the same mean diagonal. Penalties of both sides are chosen on classes left out
    together: names that are to be tried later have no part in it.

    Parameters
    ----------
    encoder, template
        See `TextAligned`. By default the mean of nine prompts.
    layout, layer
        See `Probe`.
    root, scale
        See `probes.exact.centring`. By default every network counts by its direction alone.
    alphas, betas : sequence of float, optional
        Penalties of weights and of texts to choose from, over the mean squared norm of
        either. Default: `ALPHAS`, `BETAS`.
    folds : int, default=5
        Parts into which classes are dealt, to choose the penalties.
    random_state : int, default=0
        How they are dealt.

    Attributes
    ----------
    alpha_, beta_ : float
        With the highest share; of equal ones the largest.
    path_ : ndarray of shape (len(alphas), len(betas))
        On networks of classes left out, the share of the other names left out that are
        less similar to a network than its own, a mean over classes. Chance is 0.5; the
        highest of many is a little too good, and `unseen_` is not.
    unseen_ : ndarray of shape (C,)
        That share of each class, by the penalties that are best on the other parts, each
        left out together with its own. NaN with fewer than 6 classes and some choice.
    left_out_ : ndarray of shape (n, C) or None
        `embed` of the training networks, exactly by fits without the group of each; roots,
        scales and penalties are of all. None if all networks are one group.
    mean_, names_ : ndarray of shape (e,) and (C, e)
        Mean of the embedded names, and their directions from it.

    Raises
    ------
    ValueError
        If there are fewer than 4 classes.

    References
    ----------
    .. [1] Romera-Paredes and Torr 2015, ICML: an embarrassingly simple approach to
       zero-shot learning. Differs: every candidate has unit length, for otherwise some
       are the answer for all; kernels of layers.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(40, 100))
    >>> y = np.repeat(["cat", "dog", "car", "ship"], 10)
    >>> probe = TextBilinear(encoder="ngrams").fit(X, y)
    >>> probe.similarity(X[:2], ["cats", "a boat", "truck"]).shape
    (2, 3)
    """

    name: ClassVar[str] = "text_bilinear"
    summary: ClassVar[str] = "exact ridge on both sides, weights and names of classes"

    def __init__(
        self,
        encoder: str | Encoder | None = "minilm",
        *,
        template: str | Sequence[str] = TEMPLATES,
        layout: Layout | None = None,
        layer: str | Sequence[str] | None = None,
        root: Any = "mean",
        scale: str | None = "sample",
        alphas: Sequence[float] | None = None,
        betas: Sequence[float] | None = None,
        folds: int = 5,
        random_state: int = 0,
    ) -> None:
        self.encoder = encoder
        self.template = template
        self.layout = layout
        self.layer = layer
        self.root = root
        self.scale = scale
        self.alphas = alphas
        self.betas = betas
        self.folds = folds
        self.random_state = random_state

    def embed(self, X: Array) -> Array:
        """Unit vectors (n, C): scores on the training classes."""
        return unit(self._scores(self._checked(X)))

    def project(self, vectors: Array) -> Array:
        """Unit vectors (m, C) of text embeddings (m, e): their share in training names."""
        texts = unit(vectors - self.mean_)
        return unit(coefficients(self.names_, texts, self.beta_))

    def left_out_similarity(
        self, texts: Sequence[str], encoder: Encoder | None = None
    ) -> Array:
        """`similarity` (n, m) of the training networks by fits without them.

        Raises
        ------
        ValueError
            If all of them were one group, so that nothing is left without it.
        """
        if self.left_out_ is None:
            raise ValueError(
                "All training networks were one group, so there is no fit without it. Fit "
                "with groups of several values, such as run ids, or None."
            )
        found: Array = self.left_out_ @ self.project(self._embedded(texts, encoder)).T
        return found

    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        alphas = check_alphas(ALPHAS if self.alphas is None else self.alphas)
        betas = check_alphas(BETAS if self.betas is None else self.betas)
        number = self._numbers(y)
        vectors = self._class_vectors()
        eps = float(np.finfo(X.dtype).eps)
        K, parts = np.zeros((len(X), len(X))), []
        for layer in self.layers_:
            one, centring = gram(X, layer, self.root, self.scale)
            mean = one.mean(0)
            if size := centre(one, eps):
                K += one / size
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
        found: Array = sum(parts, start=start)
        return found


def _left_out(
    spectrum: Spectrum, targets: Array, groups: Array, alpha: float
) -> Array | None:
    """Unit vectors (n, C) float32 of networks by the fits without their groups (n,)."""
    rows = np.bincount(groups)
    if len(rows) < 2:
        return None
    sums = np.zeros((len(rows), targets.shape[1]))
    np.add.at(sums, groups, targets)
    level = ((targets.sum(0) - sums) / (len(targets) - rows)[:, None])[groups]
    errors = held_out_errors(spectrum, targets, groups, alpha)
    return unit(targets - errors - level).astype(np.float32)
