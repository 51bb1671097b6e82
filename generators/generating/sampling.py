"""Sampling for several conditions, and selection of the best of several candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from catalog import Population
from catalog.names import content_id
from generators.generating.options import GenerateOptions
from generators.generator import Condition, Generator
from generators.samples import Score, best_of_each


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
    options: GenerateOptions,
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
    options : GenerateOptions
    score : callable
        Score by which the best of several candidates is selected.
    """
    sampling = options.sampling
    if "best_of" in sampling:
        sampling["score"] = score
    parts = [
        generator.sample(
            count,
            seed=seed_of(options.seed, condition),
            condition=condition or None,
            **sampling,
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
    return best_of_each(candidates, of, score)


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
