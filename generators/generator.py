"""What all generators share: they learn from a population and make new networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from catalog import Canonicaliser, Population

Condition = Mapping[str, float | str]
"""What samples shall be like: values of metadata columns."""


class Generator(ABC):
    """Makes weights.

    A generator is data once it is fitted: `save` writes one safetensors file with JSON in
    its header, and `load` gives a generator whose samples are the same to the last bit, on
    the same machine with as many threads.

    Attributes
    ----------
    training_ : Population
        What it was fitted to, in the coordinates in which it makes networks: with units in
        the order, and scales, of its samples. The judge measures copying against these and
        against the networks as they were, and against those that a sample matches.
    """

    name: ClassVar[str]
    """On the command line and in the catalogue."""
    summary: ClassVar[str]
    """One line for `phasezoo generate --list`."""
    fewest: ClassVar[int] = 2
    """Runs that it needs."""

    training_: Population
    canonicaliser_: Canonicaliser | None

    def check(self) -> None:  # noqa: B027 (most refuse nothing)
        """Refuse settings that cannot be, whatever the networks are.

        Raises
        ------
        CatalogError
            Saying what a setting must be.
        """

    @abstractmethod
    def fit(
        self,
        population: Population,
        validation: Population | None = None,
        *,
        label: str | None = None,
    ) -> Self:
        """Learn from networks of one layout.

        Parameters
        ----------
        population : Population
            Finite weights; columns of its table may be conditions.
        validation : Population, optional
            Networks of the same layout that decide when to stop, and nothing else.
        label : str, optional
            Start of a progress line, if fitting takes long; None: no progress.

        Raises
        ------
        LayoutMismatch
            If values are not finite or layouts differ.
        CatalogError
            If there are fewer networks than it needs.
        """

    @abstractmethod
    def sample(
        self, n: int, *, seed: int = 0, condition: Condition | None = None
    ) -> Population:
        """New networks: the same bytes for the same seed, n, machine and threads.

        Parameters
        ----------
        n : int
        condition : mapping, optional
            By name of a column that the generator was conditioned on.

        Returns
        -------
        Population
            Made by `generators.samples.sample_runs`: ``run_id`` is a hash of generator,
            seed, row and weights; what all training networks agree on is inherited.

        Raises
        ------
        CatalogError
            If a condition is unknown or outside what was seen in training.
        """

    @property
    def notes(self) -> list[str]:
        """What a user should know of the fit, in sentences."""
        return []

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write the fitted generator."""

    @classmethod
    @abstractmethod
    def load(cls, path: str | Path) -> Self:
        """The generator that `save` wrote."""
