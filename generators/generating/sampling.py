"""How samples are drawn: of every condition, and the best of several."""

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
"""Options that a generator has defaults for."""
Score = Callable[[Population], Array]
"""Of networks, higher is better."""


@dataclass(frozen=True)
class Sampling:
    """What some generators take when they sample.

    Attributes
    ----------
    guidance : float, optional
        1 asks for the condition, above 1 for more of it; default the generator's.
    temperature : float, optional
        Factor of the noise; default the generator's.
    restarts : int, optional
        Times that samples are made noisy and finished again; default the generator's.
    best_of : int
        So many are made for each that is kept, the one with the best accuracy on the
        validation samples of the task.
    extrapolate : bool
        Allow conditions outside of the training networks.
    """

    guidance: float | None = None
    temperature: float | None = None
    restarts: int | None = None
    best_of: int = 1
    extrapolate: bool = False

    @property
    def given(self) -> dict[str, Any]:
        """What is not as it is by default."""
        found: dict[str, Any] = {
            name: getattr(self, name)
            for name in _NUMBERS
            if getattr(self, name) is not None
        }
        if self.best_of != 1:
            found["best_of"] = self.best_of
        if self.extrapolate:
            found["extrapolate"] = True
        return found

    def check(self, kind: type[Generator], condition: Condition) -> None:
        """Refuse what a generator does not take, or has no use.

        Raises
        ------
        CatalogError
            With the option's name.
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
                    f"The generator {kind.name!r} takes no --{name.replace('_', '-')}: "
                    "leave it out."
                )
            if name in ("guidance", "extrapolate") and not condition:
                raise CatalogError(
                    f"--{name} has no use without a condition. Give one, e.g. --condition "
                    "validation_accuracy=0.9"
                )


def takes(kind: type[Generator], option: str) -> bool:
    """Whether the samples of a generator have such an option."""
    return option in inspect.signature(kind.sample).parameters


def seed_of(seed: int, condition: Condition) -> int:
    """Seed of the samples of one condition: independent of those of others.

    The same condition has the same seed whatever else is asked for. Without one it is
    the seed itself.

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
    """Samples of every condition, one after the other.

    Parameters
    ----------
    counts : sequence of int
        Samples of each condition.
    score : callable
        What is best, where the best of several is kept.
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
    """The best of every ``of`` samples, n in all; for generators without that option."""
    made = generator.sample(n * of, seed=seed, condition=condition)
    if of == 1:
        return made
    scores = np.asarray(score(made), np.float64).reshape(n, of)
    return made.select(np.arange(n) * of + scores.argmax(1))


def retrieved(
    retrieval: Generator,
    conditions: Sequence[Condition],
    counts: Sequence[int],
    seed: int,
    of: int,
    score: Score,
) -> Population:
    """What training networks answer the same conditions with.

    To a number outside of them the nearest is the same as to their end on that side.
    """
    parts = [
        best_of(
            retrieval,
            count,
            of,
            score,
            seed=seed_of(seed, condition),
            condition=_inside(condition, retrieval.training_),
        )
        for condition, count in zip(conditions, counts, strict=True)
    ]
    return parts[0] if len(parts) == 1 else Population.concat(parts)


def _inside(condition: Condition, training: Population) -> Mapping[str, float | str]:
    found: dict[str, float | str] = {}
    for name, value in condition.items():
        if not isinstance(value, str) and training[name].dtype.kind in "iuf":
            numbers = training[name].astype(float)
            numbers = numbers[np.isfinite(numbers)]
            value = float(np.clip(value, numbers.min(), numbers.max()))
        found[name] = value
    return found
