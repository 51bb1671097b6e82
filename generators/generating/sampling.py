"""Sampling for several conditions, and selection of the best of several candidates."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from catalog import CatalogError, Population
from catalog.dtypes import Array
from catalog.names import content_id
from generators.generator import Condition, Generator

_NUMBERS = ("guidance", "temperature", "restarts")
"""Options for which generators have defaults."""
Score = Callable[[Population], Array]
"""Score of each network of a population, higher is better."""


@dataclass(frozen=True)
class Sampling:
    """Sampling options that some generators take.

    Attributes
    ----------
    guidance : float, optional
        Strength of the condition: 1 follows it, above 1 amplifies it; default of the
        generator.
    temperature : float, optional
        Factor of the noise; default of the generator.
    restarts : int, optional
        Number of times that noise is added to samples and the flow is integrated again;
        default of the generator.
    best_of : int
        Number of candidates for each sample, of which the one with the best accuracy on the
        validation samples of the task is kept.
    extrapolate : bool
        Whether conditions outside the range of the training networks are allowed.
    """

    guidance: float | None = None
    temperature: float | None = None
    restarts: int | None = None
    best_of: int = 1
    extrapolate: bool = False

    @property
    def given(self) -> dict[str, Any]:
        """Options that differ from their defaults."""
        options: dict[str, Any] = {
            name: getattr(self, name)
            for name in _NUMBERS
            if getattr(self, name) is not None
        }
        if self.best_of != 1:
            options["best_of"] = self.best_of
        if self.extrapolate:
            options["extrapolate"] = True
        return options

    def check(self, kind: type[Generator], condition: Condition) -> None:
        """Check that a generator takes the given options and that each has an effect.

        Raises
        ------
        CatalogError
            If an option is out of range, not taken, or without effect; the message names
            it.
        """
        if self.best_of < 1:
            raise CatalogError(f"--best-of must be 1 or more. Got {self.best_of}.")
        for name in _NUMBERS:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise CatalogError(f"--{name} must be 0 or more. Got {value}.")
        for name in self.given:
            if not takes(kind, name):
                raise CatalogError(
                    f"The generator {kind.name!r} takes no --{name.replace('_', '-')}. "
                    "Leave it out."
                )
            if name in ("guidance", "extrapolate") and not condition:
                raise CatalogError(
                    f"--{name} has no use without a condition. Leave it out, or give e.g. "
                    "--condition validation_accuracy=0.9"
                )


def takes(kind: type[Generator], option: str) -> bool:
    """Return whether `sample` of a generator has an option."""
    return option in inspect.signature(kind.sample).parameters


def seed_of(seed: int, condition: Condition) -> int:
    """Return the seed of the samples of one condition, independent of other conditions.

    The same condition has the same seed whichever conditions are requested with it. Without
    a condition it is the given seed.

    Examples
    --------
    >>> seed_of(3, {})
    3
    >>> seed_of(3, {"width": 8.0}) == seed_of(3, {"width": 16.0})
    False
    """
    if not condition:
        return seed
    return int(content_id({"seed": seed, "condition": dict(condition)}, 12), 16)


def samples_of(
    generator: Generator,
    conditions: Sequence[Condition],
    counts: Sequence[int],
    seed: int,
    sampling: Sampling,
    score: Score,
) -> Population:
    """Sample for each condition in turn.

    Parameters
    ----------
    generator : Generator
        Fitted generator.
    conditions : sequence of mapping
    counts : sequence of int
        Number of samples of each condition.
    seed : int
    sampling : Sampling
    score : callable
        Score by which the best of several candidates is selected.
    """
    options = sampling.given
    if "best_of" in options:
        options["score"] = score
    parts = [
        generator.sample(
            count, seed=seed_of(seed, condition), condition=condition or None, **options
        )
        for condition, count in zip(conditions, counts, strict=True)
    ]
    return parts[0] if len(parts) == 1 else Population.concat(parts)


def best_of(
    generator: Generator,
    n: int,
    of: int,
    score: Score,
    *,
    seed: int,
    condition: Condition | None = None,
) -> Population:
    """Return the best of every ``of`` samples, n in all.

    For generators whose `sample` has no such option.
    """
    candidates = generator.sample(n * of, seed=seed, condition=condition)
    if of == 1:
        return candidates
    scores = np.asarray(score(candidates), np.float64).reshape(n, of)
    return candidates.select(np.arange(n) * of + scores.argmax(1))


def retrieved(
    retrieval: Generator,
    conditions: Sequence[Condition],
    counts: Sequence[int],
    seed: int,
    of: int,
    score: Score,
) -> Population:
    """Return the training networks that fulfil the same conditions best.

    A number outside the range of the training networks is clipped to it, which gives the
    same nearest networks.
    """
    parts = [
        best_of(
            retrieval,
            count,
            of,
            score,
            seed=seed_of(seed, condition),
            condition=_clipped(condition, retrieval.training_),
        )
        for condition, count in zip(conditions, counts, strict=True)
    ]
    return parts[0] if len(parts) == 1 else Population.concat(parts)


def _clipped(condition: Condition, training: Population) -> Mapping[str, float | str]:
    clipped: dict[str, float | str] = {}
    for name, value in condition.items():
        if not isinstance(value, str) and training[name].dtype.kind in "iuf":
            numbers = training[name].astype(float)
            numbers = numbers[np.isfinite(numbers)]
            value = float(np.clip(value, numbers.min(), numbers.max()))
        clipped[name] = value
    return clipped
