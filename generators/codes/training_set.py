"""What is asked of networks before anything is learned from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from catalog import CatalogError, LayoutMismatch, Population


def one_population(populations: Population | Sequence[Population]) -> Population:
    """All networks as one population.

    Raises
    ------
    LayoutMismatch
        If layouts differ; the message lists them with how many networks have each.
    """
    if isinstance(populations, Population):
        return populations
    groups: dict[str, list[Population]] = {}
    for one in populations:
        groups.setdefault(one.layout.id, []).append(one)
    if len(groups) > 1:
        listed = "; ".join(
            f"{sum(map(len, own))} x layout {name} (d = {own[0].layout.d})"
            for name, own in groups.items()
        )
        most = max(groups.values(), key=lambda own: sum(map(len, own)))
        place = next(i for i, p in enumerate(populations) if p is most[0])
        raise LayoutMismatch(
            f"A generator makes networks of one layout. Got {len(groups)}: {listed}. Fit "
            f"one to each, such as to populations[{place}]."
        )
    return Population.concat(list(populations))


def check_training(
    population: Population, validation: Population | None, needed: int
) -> None:
    """Refuse what cannot be learned from.

    Raises
    ------
    LayoutMismatch
        If values are not finite, or validation networks have another layout.
    CatalogError
        If there are fewer than ``needed`` runs, or runs are in both.
    """
    runs = set(population["run_id"])
    if len(runs) < needed:
        raise CatalogError(
            f"{len(runs)} runs ({len(population)} networks) are too few: at least {needed} "
            "runs are needed. Load more, such as those of all seeds: "
            "catalog.load(\"zoo = '...'\")."
        )
    _check_finite(population, "training")
    if validation is None:
        return
    _check_finite(validation, "validation")
    if validation.layout.widened() != population.layout.widened():
        raise LayoutMismatch(
            f"Validation networks have layout {validation.layout.id}, training networks "
            f"{population.layout.id}: {population.layout.difference(validation.layout)}. "
            "Pass networks of the same layout."
        )
    if both := runs & set(validation["run_id"]):
        raise CatalogError(
            f"{len(both)} runs are in training and validation, such as {min(both)!r}: the "
            "gate would see what is learned. Split by run: \"split_by_run = 'train'\" and "
            "\"split_by_run = 'validation'\"."
        )


def split_by_run(
    population: Population, share: float, seed: int
) -> tuple[Population, Population]:
    """Training and validation networks, split by run at random."""
    runs, row_run = np.unique(population["run_id"].astype(str), return_inverse=True)
    count = max(round(share * len(runs)), 1)
    drawn = np.random.default_rng(seed).permutation(len(runs))[:count]
    held = np.isin(row_run, drawn)
    return population.select(~held), population.select(held)


def _check_finite(population: Population, what: str) -> None:
    finite = np.isfinite(population.weights).all(1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise LayoutMismatch(
            f"{len(bad)} of {len(population)} {what} networks hold values that are not "
            f"finite, first run {population['run_id'][bad[0]]!r}. Leave them out: "
            "population.select(np.isfinite(population.weights).all(1))."
        )
