"""Choice of the penalties of `TextBilinear` on left-out classes, with nested scores.

Classes are assigned to parts, and penalties are chosen on parts that are left out. The
choice must be scored on classes that had no part in it. For every part, the penalties are
therefore chosen on the other parts, each left out together with that part. Two parts at a
time share one eigendecomposition, of the networks of all other parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from catalog.dtypes import Array
from probes.exact.dealing import deal
from probes.exact.features import unseen_by
from probes.text.encoders import unit


@dataclass(frozen=True)
class ClassesLeftOut:
    """Networks of C classes with parts of classes to leave out.

    Attributes
    ----------
    K : ndarray of shape (n, n)
        Inner products of networks, of precision ``eps``, centred and scaled by all
        networks.
    number : ndarray of shape (n,)
        Class of each network, 0 to C - 1.
    vectors : ndarray of shape (C, e)
        Embedded names.
    alphas, betas : sequence of float
        Penalties of weights and of texts.
    parts : ndarray of shape (C,)
        Part of each class.
    """

    K: Array
    number: Array
    vectors: Array
    alphas: Sequence[float]
    betas: Sequence[float]
    parts: Array
    eps: float

    @classmethod
    def dealt(
        cls,
        K: Array,
        number: Array,
        vectors: Array,
        alphas: Sequence[float],
        betas: Sequence[float],
        folds: int,
        seed: int,
        eps: float,
    ) -> ClassesLeftOut:
        """Assign classes to parts, see `parts_of_classes`."""
        parts = parts_of_classes(len(vectors), folds, seed)
        return cls(K, number, vectors, alphas, betas, parts, eps)

    def shares(self) -> Array:
        """Compute the share of each class, for each pair of penalties.

        The share is that of the other names of the part that are less similar to a network
        than its own name, averaged over the networks of the class. The shape is
        (len(alphas), len(betas), C).
        """
        shares = np.empty((len(self.alphas), len(self.betas), len(self.vectors)))
        for part in np.unique(self.parts):
            left_out = np.flatnonzero(self.parts == part)
            (shares[..., left_out],) = self._without(left_out)
        return shares

    def nested(self, shares: Array) -> Array:
        """Compute `shares` (C,) with the penalties that are best on the other parts.

        The result is NaN if there are 2 parts, as no part is left to fit. With a single
        pair of penalties nothing is chosen, and ``shares`` are returned unchanged.
        """
        names = np.unique(self.parts)
        if shares[..., 0].size == 1:
            return shares[0, 0].copy()
        result = np.full(len(self.vectors), np.nan)
        if len(names) < 3:
            return result
        chosen_by = {part: np.zeros(shares.shape[:2]) for part in names.tolist()}
        for first, second in combinations(names.tolist(), 2):
            left_out = [np.flatnonzero(self.parts == part) for part in (first, second)]
            of_first, of_second = self._without(*left_out)
            chosen_by[first] += of_second.sum(-1)
            chosen_by[second] += of_first.sum(-1)
        for part, path in chosen_by.items():
            in_part = self.parts == part
            i, j = self.best(path)
            result[in_part] = shares[i, j, in_part]
        return result

    def best(self, path: Array) -> tuple[int, int]:
        """Return the indices of the best penalties of a path; of ties the largest."""
        pairs = np.ndindex(path.shape)
        return max(pairs, key=lambda p: (path[p], self.alphas[p[0]], self.betas[p[1]]))

    def _without(self, *parts: Array) -> list[Array]:
        """Compute shares (len(alphas), len(betas), len(part)) of jointly left-out parts."""
        is_out = np.isin(np.arange(len(self.vectors)), np.concatenate(parts))
        training_classes = np.flatnonzero(~is_out)
        train = np.flatnonzero(~is_out[self.number])
        rest = np.flatnonzero(is_out[self.number])
        mean = self.vectors[training_classes].mean(0)
        names = unit(self.vectors[training_classes] - mean)
        sides = [
            [name_coefficients(names, unit(self.vectors[p] - mean), b) for b in self.betas]
            for p in parts
        ]
        shares = [np.empty((len(self.alphas), len(self.betas), len(p))) for p in parts]
        for i, scores in enumerate(self._scores(training_classes, train, rest)):
            for part, side, part_shares in zip(parts, sides, shares, strict=True):
                in_part = np.isin(self.number[rest], part)
                own_class = np.searchsorted(part, self.number[rest[in_part]])
                for j, texts in enumerate(side):
                    share = beaten(scores[in_part], texts, own_class)
                    sizes = np.bincount(own_class)
                    part_shares[i, j] = np.bincount(own_class, share) / sizes
        return shares

    def _scores(
        self, training_classes: Array, train: Array, rest: Array
    ) -> Iterator[Array]:
        """Yield scores of left-out networks on the training classes, for each penalty."""
        targets = onehot(self.number, training_classes)
        for errors in unseen_by(self.K, targets, train, rest, self.alphas, self.eps):
            yield targets[rest] - errors - targets[train].mean(0)


def beaten(predicted: Array, names: Array, number: Array) -> Array:
    """Return the share of other names that are less similar to a network than its own."""
    cosines = unit(predicted) @ unit(names).T
    own_cosine = np.take_along_axis(cosines, number[:, None], 1)
    below = (cosines < own_cosine).sum(1) + ((cosines == own_cosine).sum(1) - 1) / 2
    shares: Array = below / (len(names) - 1)
    return shares


def parts_of_classes(count: int, folds: int, seed: int) -> Array:
    """Return the part (C,) of each class; parts have two classes or more.

    A single new name would lose to the known names.
    """
    return deal(np.arange(count), min(folds, count // 2), seed)


def name_coefficients(names: Array, texts: Array, beta: float) -> Array:
    """Compute centred ridge coefficients (m, C) of texts on names, all unit vectors."""
    G = names @ names.T
    weights: Array = np.linalg.solve(G + beta * np.eye(len(G)), names @ texts.T).T
    return weights - weights.mean(1)[:, None]


def onehot(number: Array, classes: Array) -> Array:
    """Encode the classes of networks (n,) as 0 and 1, (n, C)."""
    return (number[:, None] == classes).astype(np.float64)
