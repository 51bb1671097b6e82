"""Base class of generators: fit a population of networks and sample new networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from catalog import Canonicaliser, Population

Condition = Mapping[str, float | str]
"""Values of metadata columns that samples should have, by column."""


class Generator(ABC):
    """Base class of generators of weights.

    A fitted generator is data: `save` writes one safetensors file with JSON in its header,
    and `load` returns a generator whose samples are the same to the last bit, on the same
    machine with the same number of threads.

    Attributes
    ----------
    training_ : Population
        Networks that the generator was fitted to, in the coordinates of its samples: with
        the same order and scales of units. The judge measures copying against these
        networks, against the networks before alignment, and against the networks that a
        sample matches.
    """

    name: ClassVar[str]
    """Name on the command line and in the catalogue."""
    summary: ClassVar[str]
    """One line for `phasezoo generate --list`."""
    fewest: ClassVar[int] = 2
    """Minimum number of runs for a fit."""

    training_: Population
    canonicaliser_: Canonicaliser | None

    def check(self) -> None:  # noqa: B027 (most generators accept all settings)
        """Check the settings, independently of any networks.

        Raises
        ------
        CatalogError
            If a setting is invalid; the message says what it must be.
        """

    @abstractmethod
    def fit(
        self,
        population: Population,
        validation: Population | None = None,
        *,
        label: str | None = None,
    ) -> Self:
        """Fit the generator to networks of one layout.

        Parameters
        ----------
        population : Population
            Training networks with finite weights; columns of the table may be conditions.
        validation : Population, optional
            Networks of the same layout that are used for early stopping only.
        label : str, optional
            Start of a progress line, if fitting takes long; None: no progress.

        Raises
        ------
        LayoutMismatch
            If values are not finite or layouts differ.
        CatalogError
            If there are fewer runs than `fewest`.
        """

    @abstractmethod
    def sample(
        self, n: int, *, seed: int = 0, condition: Condition | None = None
    ) -> Population:
        """Sample new networks: the same bytes for the same seed, n, machine and threads.

        Parameters
        ----------
        n : int
            Number of networks.
        condition : mapping, optional
            Values by name of a column that the generator was conditioned on.

        Returns
        -------
        Population
            Samples as `generators.samples.sample_runs` makes them: ``run_id`` is a hash of
            generator, seed, row and weights; metadata on which all training networks agree
            are inherited.

        Raises
        ------
        CatalogError
            If a condition is unknown or outside the range of the training networks.
        """

    @property
    def notes(self) -> list[str]:
        """Remarks on the fit for the user, one sentence or more each."""
        return []

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write the fitted generator to a file."""

    @classmethod
    @abstractmethod
    def load(cls, path: str | Path) -> Self:
        """Return the generator that `save` wrote."""
