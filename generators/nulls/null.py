"""Base class of nulls, which learn nothing and are the baselines of generators."""

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
"""Maximum number of training networks that a sample names as its parents."""


@dataclass(eq=False)
class Null(Generator):
    """Base class of nulls, which make networks from training networks by a fixed rule.

    Parameters
    ----------
    aligned : bool, default=True
        Whether units are first put in canonical order and scale. A null counts with the
        better of both.
    align_seed : int, default=0
        Seed of the alignment.
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
        """Keep the training networks, aligned or unchanged.

        Parameters
        ----------
        population : Population or sequence of Population
            Training networks.
        validation : Population, optional
            Validation networks, which are checked but not used.
        check : callable or False, optional
            Function from weights to outputs, as in `catalog.Canonicaliser.fit`.
        label : str, optional
            Not used, as the fit is fast.

        Raises
        ------
        LayoutMismatch
            If values are not finite or layouts differ.
        CatalogError
            If there are fewer runs than `fewest`.
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
        """Keep networks in their current units, and the canonicaliser that aligned them."""
        self.training_, self.canonicaliser_ = training, canonicaliser
        self._learn()
        return self

    def sample(
        self, n: int, *, seed: int = 0, condition: Condition | None = None
    ) -> Population:
        """Sample new networks: the same bytes for the same seed.

        Parents are named if a sample is made of at most `MOST_PARENTS` networks.

        Raises
        ------
        CatalogError
            If the null is not fitted, or does not take the condition.
        """
        if not hasattr(self, "training_"):
            raise CatalogError(
                f"This {type(self).__name__} is not fitted: call fit(population) first."
            )
        if n < 1:
            raise ValueError(f"n must be 1 or more. Got {n}.")
        rng = np.random.default_rng(seed)
        weights, parents = self._make(n, rng, condition)
        sample_settings = {**settings(self), "condition": dict(condition or {})}
        columns = {"parents": pa.array(self._parents_of(n, parents), PARENTS)}
        return sample_runs(
            weights,
            self.training_,
            generator=self.name,
            settings=sample_settings,
            seed=seed,
            columns=columns,
        )

    def save(self, path: str | Path) -> None:
        """Write the networks to a file."""
        save_generator(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the null that `save` wrote."""
        return load_generator(path, cls)

    @abstractmethod
    def _make(
        self, n: int, rng: np.random.Generator, condition: Condition | None
    ) -> tuple[Array, Array | None]:
        """Return weights (n, d), and rows (n, m) of their parents."""

    def _learn(self) -> None:
        """Estimate the distribution to draw from, if there is one."""

    def _parents_of(self, n: int, parents: Array | None) -> list[list[dict[str, object]]]:
        if parents is None or parents.shape[1] > MOST_PARENTS:
            return [[] for _ in range(n)]
        runs = self.training_["run_id"].tolist()
        steps = self.training_["step"].tolist()
        return [
            [{"run_id": runs[i], "step": steps[i], "role": self.name} for i in row]
            for row in parents.tolist()
        ]


def refuse(null: Null, condition: Condition | None) -> None:
    """Raise an error if a null that takes no conditions is given one."""
    if condition:
        raise CatalogError(
            f"The null {null.name!r} takes no condition. Got {dict(condition)}. Leave it "
            "out, or use the null 'retrieval', which takes conditions."
        )


def drawn_rows(count: int, n: int, rng: np.random.Generator) -> Array:
    """Draw n rows of ``count``; a row is repeated only after all others were drawn.

    Examples
    --------
    >>> sorted(drawn_rows(3, 6, np.random.default_rng(0)).tolist())
    [0, 0, 1, 1, 2, 2]
    """
    rounds = [rng.permutation(count) for _ in range(-(-n // count))]
    rows: Array = np.concatenate(rounds)[:n]
    return rows


def drawn_groups(
    runs: Array, n: int, size: int, rng: np.random.Generator, *, setting: str = ""
) -> Array:
    """Draw groups (n, size) of rows of different runs, uniformly over runs.

    Parameters
    ----------
    runs : ndarray
        Run of each row.
    n, size : int
    rng : numpy.random.Generator
    setting : str, optional
        Setting of the null that is the size; empty if groups always have this size.

    Raises
    ------
    CatalogError
        If there are fewer runs than a group needs.
    """
    names, run_numbers = np.unique(runs.astype(str), return_inverse=True)
    if size > len(names):
        smaller = f"Set {setting}={len(names)} or less, or load" if setting else "Load"
        raise CatalogError(
            f"A mean of {size} networks needs {size} runs. Got {len(names)}. {smaller} "
            "more runs."
        )
    order = np.argsort(run_numbers, kind="stable")
    counts = np.bincount(run_numbers)
    starts = np.cumsum(counts) - counts
    drawn_runs = np.stack([rng.permutation(len(names))[:size] for _ in range(n)])
    offsets = (rng.random(drawn_runs.shape) * counts[drawn_runs]).astype(np.int64)
    rows: Array = order[starts[drawn_runs] + offsets]
    return rows
