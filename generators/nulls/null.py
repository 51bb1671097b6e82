"""What all nulls share: they learn nothing, so what a generator must be better than."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pyarrow as pa

from catalog import Canonicaliser, CatalogError, Population
from catalog.alignment import Outputs
from catalog.dtypes import Array
from catalog.schema import PARENTS
from generators.codes.canonical import fitted_canonicaliser, in_canonical_units
from generators.codes.training_set import check_training, one_population
from generators.file import load_generator, save_generator, settings
from generators.generator import Condition, Generator
from generators.samples import sample_runs

MOST_PARENTS = 64
"""Training networks up to which a sample names what it is made of."""


@dataclass(eq=False)
class Null(Generator):
    """Makes networks from training networks by a fixed rule.

    Parameters
    ----------
    aligned : bool, default=True
        Bring units into canonical order and scale first. A null counts with the better of
        both.
    align_seed : int, default=0
        Of the alignment.
    """

    aligned: bool = True
    align_seed: int = 0

    def fit(
        self,
        population: Population | Sequence[Population],
        validation: Population | None = None,
        *,
        check: Outputs | Literal[False] | None = None,
        label: str | None = None,
    ) -> Self:
        """Keep the networks, aligned or as they are.

        Parameters
        ----------
        validation : Population, optional
            Checked, and not used.
        check : callable or False, optional
            As of `catalog.Canonicaliser.fit`.
        label : str, optional
            Not used: nothing takes long.

        Raises
        ------
        LayoutMismatch
            If values are not finite or layouts differ.
        CatalogError
            If there are fewer runs than it needs.
        """
        population = one_population(population)
        check_training(population, validation, self.fewest)
        canonicaliser = None
        if self.aligned and population.layout.symbols:
            canonicaliser = fitted_canonicaliser(
                population,
                check,
                strategy="mean",
                balance=None,
                reference=None,
                seed=self.align_seed,
            )
        return self.fit_to(in_canonical_units(canonicaliser, population), canonicaliser)

    def fit_to(
        self, training: Population, canonicaliser: Canonicaliser | None = None
    ) -> Self:
        """Keep networks in the units that they have; what aligned them, if anything did."""
        self.training_, self.canonicaliser_ = training, canonicaliser
        self._learn()
        return self

    def sample(
        self, n: int, *, seed: int = 0, condition: Condition | None = None
    ) -> Population:
        """New networks: the same bytes for the same seed.

        Parents are named where a sample is made of at most `MOST_PARENTS` networks.

        Raises
        ------
        CatalogError
            If it is not fitted, or there is a condition that it does not know.
        """
        if not hasattr(self, "training_"):
            raise CatalogError(
                f"This {type(self).__name__} is not fitted: call fit(population) first."
            )
        if n < 1:
            raise ValueError(f"n must be 1 or more. Got {n}.")
        rng = np.random.default_rng(seed)
        weights, parents = self._make(n, rng, condition)
        about = {**settings(self), "condition": dict(condition or {})}
        columns = {"parents": pa.array(self._named(n, parents), PARENTS)}
        return sample_runs(
            weights,
            self.training_,
            generator=self.name,
            settings=about,
            seed=seed,
            columns=columns,
        )

    def save(self, path: str | Path) -> None:
        """Write the networks."""
        save_generator(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The null that `save` wrote."""
        return load_generator(path, cls)

    @abstractmethod
    def _make(
        self, n: int, rng: np.random.Generator, condition: Condition | None
    ) -> tuple[Array, Array | None]:
        """Weights (n, d), and rows (n, m) of their parents."""

    def _learn(self) -> None:
        """Estimate what is drawn from, if anything is."""

    def _named(self, n: int, parents: Array | None) -> list[list[dict[str, object]]]:
        if parents is None or parents.shape[1] > MOST_PARENTS:
            return [[] for _ in range(n)]
        runs = self.training_["run_id"].tolist()
        steps = self.training_["step"].tolist()
        return [
            [{"run_id": runs[i], "step": steps[i], "role": self.name} for i in row]
            for row in parents.tolist()
        ]


def refuse(null: Null, condition: Condition | None) -> None:
    """Say that a null takes no conditions."""
    if condition:
        raise CatalogError(
            f"The null {null.name!r} takes no condition. Got {dict(condition)}. Conditions "
            "are answered with training networks by 'retrieval'."
        )


def drawn_rows(count: int, n: int, rng: np.random.Generator) -> Array:
    """Rows of ``count``, n: each comes again only when all have come.

    Examples
    --------
    >>> sorted(drawn_rows(3, 6, np.random.default_rng(0)).tolist())
    [0, 0, 1, 1, 2, 2]
    """
    rounds = [rng.permutation(count) for _ in range(-(-n // count))]
    rows: Array = np.concatenate(rounds)[:n]
    return rows


def drawn_groups(runs: Array, n: int, size: int, rng: np.random.Generator) -> Array:
    """Groups (n, size) of rows of different runs, drawn alike.

    Raises
    ------
    CatalogError
        If there are fewer runs than a group needs.
    """
    names, of = np.unique(runs.astype(str), return_inverse=True)
    if size > len(names):
        raise CatalogError(
            f"A mean of {size} networks needs as many runs; there are {len(names)}. Set "
            f"size={len(names)} or less, or load more."
        )
    order = np.argsort(of, kind="stable")
    counts = np.bincount(of)
    starts = np.cumsum(counts) - counts
    chosen = np.stack([rng.permutation(len(names))[:size] for _ in range(n)])
    within = (rng.random(chosen.shape) * counts[chosen]).astype(np.int64)
    rows: Array = order[starts[chosen] + within]
    return rows
