"""Whether one generator makes more novel and performant networks than another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog import CatalogError
from generators.judging.judged import Judged

DRAWS = 2000


@dataclass(frozen=True)
class Difference:
    """N&P share of ours less that of theirs.

    Attributes
    ----------
    mean : float
        Over seeds.
    low, high : float
        95 % interval.
    seeds : int
        Below five, the interval hardly knows how much fits differ.
    """

    mean: float
    low: float
    high: float
    seeds: int


def compare(
    ours: Sequence[Judged],
    theirs: Sequence[Judged],
    spread: float,
    *,
    seed: int = 0,
) -> Difference:
    """Compare two generators, fitted and sampled with the same seeds.

    A paired bootstrap in two stages: seeds are drawn for both together, then samples
    within each.

    Parameters
    ----------
    ours, theirs : sequence of Judged
        Item i of both has the same seed.
    spread : float
        As of `Judged.performant`.

    Raises
    ------
    CatalogError
        If there are not as many of both, or they were calibrated differently.
    """
    if len(ours) != len(theirs) or not ours:
        raise CatalogError(
            f"Pairs are compared, one of each for every seed. Got {len(ours)} and "
            f"{len(theirs)}."
        )
    kinds = {str(one.calibration) for one in (*ours, *theirs)}
    if len(kinds) > 1:
        raise CatalogError(
            f"What is compared is calibrated alike. Got {', '.join(sorted(kinds))}."
        )
    rng = np.random.default_rng(seed)
    passed = [[one.performant(spread) for one in side] for side in (ours, theirs)]
    shares = [np.array([p.mean() for p in side]) for side in passed]
    # The share of n drawn samples is binomial.
    drawn = [
        np.stack(
            [rng.binomial(len(p), p.mean(), (DRAWS, len(ours))) / len(p) for p in side]
        )
        for side in passed
    ]  # of seed, draw, place
    picked = rng.integers(0, len(ours), (DRAWS, len(ours)))
    draw, place = np.indices(picked.shape)
    means = (drawn[0] - drawn[1])[picked, draw, place].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Difference(
        float((shares[0] - shares[1]).mean()), float(low), float(high), len(ours)
    )
