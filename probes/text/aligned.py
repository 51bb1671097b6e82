"""Base class of probes that are aligned to text, with similarity and zero-shot classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from catalog import Layout
from catalog.dtypes import Array
from probes.probe import Probe
from probes.text.encoder import TEMPLATE, Encoder
from probes.text.encoders import embedded

FEWEST = 4
"""Minimum number of classes, to choose a penalty on classes that are left out."""
_SHARPNESS, _ROUNDS = 3.0, 50
"""Sharpness of the softmax over standardised cosines, and number of iterations, for
balanced classes."""


@dataclass(eq=False, repr=False, kw_only=True)
class TextAligned(Probe):
    """Base class of probes that embed networks and texts in one space.

    The targets y (n,) are names of classes.

    Parameters
    ----------
    encoder : str or callable, default="minilm"
        Function from texts to an array (m, e), or name of an encoder: "minilm", "clip",
        "ngrams". A function cannot be saved: set ``encoder=None`` before saving, and pass
        the function again to `similarity` and `zero_shot`.
    template : str or sequence of str, default="a photo of a {}"
        Prompt into which names are inserted; embeddings of several prompts are averaged.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
        Names of the training classes.
    """

    task: str = field(default="classification", init=False)
    layout: Layout | None = None
    layer: str | Sequence[str] | None = None
    encoder: str | Encoder | None = field(default="minilm", kw_only=False)
    template: str | Sequence[str] = TEMPLATE

    @abstractmethod
    def embed(self, X: Array) -> Array:
        """Embed weights X (n, d) as unit vectors (n, k)."""

    @abstractmethod
    def project(self, vectors: Array) -> Array:
        """Map text embeddings (m, e) to unit vectors (m, k)."""

    def similarity(
        self, X: Array, texts: Sequence[str], encoder: Encoder | None = None
    ) -> Array:
        """Compute cosines (n, m) of weights X (n, d) and m texts, known or new."""
        return self.embed(X) @ self.project(self._embedded(texts, encoder)).T

    def zero_shot(
        self,
        X: Array,
        names: Sequence[str],
        encoder: Encoder | None = None,
        *,
        balanced: bool = False,
    ) -> Array:
        """Return the most similar of some names for each network (n,); names may be new.

        Parameters
        ----------
        balanced : bool, default=False
            Assign about the same number of networks to each name (Sinkhorn's iteration).
            A prediction then depends on the other networks, and the assumption is wrong if
            some classes are rare.
        """
        similarity = self.similarity(X, names, encoder)
        similarity = _balanced(similarity) if balanced else similarity
        answers: Array = np.asarray(names)[similarity.argmax(1)]
        return answers

    def _embedded(self, texts: Sequence[str], encoder: Encoder | None = None) -> Array:
        return embedded(encoder or self.encoder, texts, self.template)

    def _class_vectors(self) -> Array:
        """Embed the names of the training classes, and check their number."""
        vectors = self._embedded([str(name) for name in self.classes_])
        if len(vectors) < FEWEST:
            raise ValueError(
                f"There are {len(vectors)} classes; alignment to text needs {FEWEST} or "
                "more, because 2 classes at a time are left out to choose the penalty."
            )
        return vectors

    def _numbers(self, y: Array) -> Array:
        """Return the number of the class of each row of encoded targets."""
        numbers: Array = y.argmax(1) if y.shape[1] > 1 else y[:, 0].astype(np.int64)
        return numbers

    def _columns(self, scores: Array) -> Array:
        """Return scores as `Targets` expects them: for two classes their difference."""
        return scores[:, 1:] - scores[:, :1] if scores.shape[1] == 2 else scores


def _balanced(similarity: Array) -> Array:
    """Return shares (n, m) of networks in names, with equal totals of the names."""
    spread = similarity.std() or 1.0
    shares: Array = np.exp(_SHARPNESS * similarity / spread)
    for _ in range(_ROUNDS):
        shares /= shares.sum(0)
        shares /= shares.sum(1, keepdims=True)
    return shares


def nearest_names(
    predicted: Sequence[str],
    names: Sequence[str],
    encoder: str | Encoder,
    template: str | Sequence[str] = TEMPLATE,
) -> Array:
    """Baseline of zero-shot classes: the name nearest to the predicted known class.

    Parameters
    ----------
    predicted : sequence of str
        Training class of each network, as predicted by any classifier.
    names : sequence of str
        Candidate names.

    Returns
    -------
    ndarray of shape (n,)
    """
    known = sorted(set(predicted))
    cosines = embedded(encoder, known, template) @ embedded(encoder, names, template).T
    nearest = dict(zip(known, np.asarray(names)[cosines.argmax(1)], strict=True))
    return np.array([nearest[name] for name in predicted])
