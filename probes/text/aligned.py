"""What probes that are aligned to text share: similarity, zero-shot classes, search."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from catalog.dtypes import Array
from probes.probe import Probe
from probes.text.encoder import TEMPLATE, Encoder
from probes.text.encoders import embedded

FEWEST = 4
"""Classes, to choose a penalty by those left out."""
_SHARPNESS, _ROUNDS = 3.0, 50
"""Of balanced answers: of the softmax over standardised cosines, and its iterations."""


class TextAligned(Probe):
    """Networks and texts in one space; y (n,) are names of classes.

    Parameters
    ----------
    encoder : str or callable, default="minilm"
        What turns texts into an array (m, e), or its name: "minilm", "clip", "ngrams". A
        callable has no place in a file: set ``encoder=None`` before saving, and pass it
        again to `similarity` and `zero_shot`.
    template : str or sequence of str, default="a photo of a {}"
        What names are put into; of several the mean counts.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
        Names seen in training.
    """

    task = "classification"
    encoder: str | Encoder | None
    template: str | Sequence[str]

    @abstractmethod
    def embed(self, X: Array) -> Array:
        """Unit vectors (n, k) of weights X (n, d)."""

    @abstractmethod
    def project(self, vectors: Array) -> Array:
        """Unit vectors (m, k) of text embeddings (m, e)."""

    def similarity(
        self, X: Array, texts: Sequence[str], encoder: Encoder | None = None
    ) -> Array:
        """Cosines (n, m) of weights X (n, d) and m texts, seen in training or not."""
        return self.embed(X) @ self.project(self._embedded(texts, encoder)).T

    def zero_shot(
        self,
        X: Array,
        names: Sequence[str],
        encoder: Encoder | None = None,
        *,
        balanced: bool = False,
    ) -> Array:
        """The most similar of some names for each network (n,); none need be known.

        Parameters
        ----------
        balanced : bool, default=False
            Each name is the answer for about as many networks (Sinkhorn's iteration), so
            that an answer depends on the other networks. Wrong where some are rare.
        """
        found = self.similarity(X, names, encoder)
        found = _balanced(found) if balanced else found
        answers: Array = np.asarray(names)[found.argmax(1)]
        return answers

    def _embedded(self, texts: Sequence[str], encoder: Encoder | None = None) -> Array:
        return embedded(encoder or self.encoder, texts, self.template)

    def _class_vectors(self) -> Array:
        """Embedded names of the training classes; enough of them to leave some out."""
        vectors = self._embedded([str(name) for name in self.classes_])
        if len(vectors) < FEWEST:
            raise ValueError(
                f"There are {len(vectors)} classes; alignment to text needs {FEWEST} or "
                "more, of which 2 at a time are left out to choose the penalty."
            )
        return vectors

    def _numbers(self, y: Array) -> Array:
        """Number of the class of each row of encoded targets."""
        found: Array = y.argmax(1) if y.shape[1] > 1 else y[:, 0].astype(np.int64)
        return found

    def _columns(self, scores: Array) -> Array:
        """Scores as `Targets` decides: of two classes, how much more the second."""
        return scores[:, 1:] - scores[:, :1] if scores.shape[1] == 2 else scores


def _balanced(similarity: Array) -> Array:
    """Shares (n, m) of each network in each name, of which all have as much."""
    spread = similarity.std() or 1.0
    found: Array = np.exp(_SHARPNESS * similarity / spread)
    for _ in range(_ROUNDS):
        found /= found.sum(0)
        found /= found.sum(1, keepdims=True)
    return found


def nearest_names(
    predicted: Sequence[str],
    names: Sequence[str],
    encoder: str | Encoder,
    template: str | Sequence[str] = TEMPLATE,
) -> Array:
    """The trivial zero-shot answer: of some names the one nearest to a known class.

    Parameters
    ----------
    predicted : sequence of str
        What any classifier of training classes says about each network.
    names : sequence of str
        Candidates.

    Returns
    -------
    ndarray of shape (n,)
    """
    known = sorted(set(predicted))
    closest = embedded(encoder, known, template) @ embedded(encoder, names, template).T
    answers = dict(zip(known, np.asarray(names)[closest.argmax(1)], strict=True))
    return np.array([answers[name] for name in predicted])
