"""How well `TextBilinear` names classes that it has not seen, with penalties so chosen.

Classes are dealt to parts. Penalties are chosen on each part left out; how good that
choice is has to be seen on classes that had no say in it. So of every part the penalties
are chosen on the other parts, each left out together with it: two parts at a time share
one eigendecomposition, of the networks of all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from catalog.dtypes import Array
from probes.exact.features import deal, unseen_by
from probes.text.encoders import unit
from probes.text.ridge import beaten


@dataclass(frozen=True)
class ClassesLeftOut:
    """Networks of C classes, of which some are left out at a time.

    Attributes
    ----------
    K : ndarray of shape (n, n)
        Inner products of networks, of precision ``eps``. Their root and scale are of all.
    number : ndarray of shape (n,)
        Class of each, 0 to C - 1.
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
        """With two classes or more in each part: against known names unseen ones lose."""
        count = min(folds, len(vectors) // 2)
        parts = deal(np.arange(len(vectors)), count, seed)
        return cls(K, number, vectors, alphas, betas, parts, eps)

    def shares(self) -> Array:
        """For each pair of penalties and class (len(alphas), len(betas), C).

        The share of the other names of its part that are less similar to a network than
        its own, a mean over its networks.
        """
        found = np.empty((len(self.alphas), len(self.betas), len(self.vectors)))
        for part in np.unique(self.parts):
            left = np.flatnonzero(self.parts == part)
            (found[..., left],) = self._without(left)
        return found

    def nested(self, shares: Array) -> Array:
        """`shares` (C,) by the penalties that the other parts choose.

        NaN if there are 2 parts: none is left to learn from. Of one pair of penalties,
        which nobody chose, ``shares`` as they are.
        """
        names = np.unique(self.parts)
        if shares[..., 0].size == 1:
            return shares[0, 0].copy()
        found = np.full(len(self.vectors), np.nan)
        if len(names) < 3:
            return found
        chosen_by = {part: np.zeros(shares.shape[:2]) for part in names.tolist()}
        for one, other in combinations(names.tolist(), 2):
            both = [np.flatnonzero(self.parts == part) for part in (one, other)]
            of_one, of_other = self._without(*both)
            chosen_by[one] += of_other.sum(-1)
            chosen_by[other] += of_one.sum(-1)
        for part, path in chosen_by.items():
            mine = self.parts == part
            i, j = self.best(path)
            found[mine] = shares[i, j, mine]
        return found

    def best(self, path: Array) -> tuple[int, int]:
        """The highest of a path (len(alphas), len(betas)); of equal ones the largest."""
        pairs = np.ndindex(path.shape)
        return max(pairs, key=lambda p: (path[p], self.alphas[p[0]], self.betas[p[1]]))

    def _without(self, *parts: Array) -> list[Array]:
        """Shares (len(alphas), len(betas), len(part)) of parts left out together."""
        out = np.isin(np.arange(len(self.vectors)), np.concatenate(parts))
        seen = np.flatnonzero(~out)
        train, rest = np.flatnonzero(~out[self.number]), np.flatnonzero(out[self.number])
        mean = self.vectors[seen].mean(0)
        names = unit(self.vectors[seen] - mean)
        sides = [
            [coefficients(names, unit(self.vectors[p] - mean), b) for b in self.betas]
            for p in parts
        ]
        found = [np.empty((len(self.alphas), len(self.betas), len(p))) for p in parts]
        for i, told in enumerate(self._scores(seen, train, rest)):
            for part, side, into in zip(parts, sides, found, strict=True):
                mine = np.isin(self.number[rest], part)
                own = np.searchsorted(part, self.number[rest[mine]])
                for j, texts in enumerate(side):
                    each = beaten(told[mine], texts, own)
                    into[i, j] = np.bincount(own, each) / np.bincount(own)
        return found

    def _scores(self, seen: Array, train: Array, rest: Array) -> Iterator[Array]:
        """Scores on the classes that are seen, of networks of others, by penalty."""
        targets = onehot(self.number, seen)
        for errors in unseen_by(self.K, targets, train, rest, self.alphas, self.eps):
            yield targets[rest] - errors - targets[train].mean(0)


def coefficients(names: Array, texts: Array, beta: float) -> Array:
    """Ridge coefficients (m, C), of mean 0, of texts on names of classes: unit vectors."""
    G = names @ names.T
    found: Array = np.linalg.solve(G + beta * np.eye(len(G)), names @ texts.T).T
    return found - found.mean(1)[:, None]


def onehot(number: Array, classes: Array) -> Array:
    """Whether a network (n,) is of a class (C,): 0 or 1."""
    return (number[:, None] == classes).astype(np.float64)
