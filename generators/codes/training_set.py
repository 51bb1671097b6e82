"""Checks of training and validation networks, and their split by run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from catalog import CatalogError, LayoutMismatch, Population


def one_population(populations: Population | Sequence[Population]) -> Population:
    """Concatenate populations of one layout.

    Raises
    ------
    LayoutMismatch
        If layouts differ; the message lists them with the number of networks of each.
    """
    if isinstance(populations, Population):
        return populations
    groups: dict[str, list[Population]] = {}
    for population in populations:
        groups.setdefault(population.layout.id, []).append(population)
    if len(groups) > 1:
        listed = "; ".join(
            f"{sum(map(len, group))} x layout {name} (d = {group[0].layout.d})"
            for name, group in groups.items()
        )
        largest = max(groups.values(), key=lambda group: sum(map(len, group)))
        index = next(i for i, p in enumerate(populations) if p is largest[0])
        raise LayoutMismatch(
            f"A generator makes networks of one layout. Got {len(groups)}: {listed}. Fit "
            f"one generator to each, such as to populations[{index}]."
        )
    return Population.concat(list(populations))


def check_training(
    population: Population, validation: Population | None, needed: int
) -> None:
    """Check that a generator can be fitted to the networks.

    Parameters
    ----------
    population : Population
        Training networks.
    validation : Population or None
        Held-out networks.
    needed : int
        Minimum number of training runs.

    Raises
    ------
    LayoutMismatch
        If values are not finite, or validation networks have another layout.
    CatalogError
        If there are fewer than ``needed`` runs, or runs are in both sets.
    """
    runs = set(population["run_id"])
    if len(runs) < needed:
        raise CatalogError(
            f"{len(runs)} runs ({len(population)} networks) are too few: at least {needed} "
            "runs are needed. Load more runs, such as those of all seeds: "
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
    if shared_runs := runs & set(validation["run_id"]):
        raise CatalogError(
            f"{len(shared_runs)} runs are in training and validation, such as "
            f"{min(shared_runs)!r}, so early stopping would use training networks. Split "
            "by run: \"split_by_run = 'train'\" and \"split_by_run = 'validation'\"."
        )


def split_by_run(
    population: Population, share: float, seed: int
) -> tuple[Population, Population]:
    """Split networks by run at random into training and validation networks."""
    runs, row_run = np.unique(population["run_id"].astype(str), return_inverse=True)
    count = max(round(share * len(runs)), 1)
    drawn_runs = np.random.default_rng(seed).permutation(len(runs))[:count]
    is_held_out = np.isin(row_run, drawn_runs)
    return population.select(~is_held_out), population.select(is_held_out)


def _check_finite(population: Population, role: str) -> None:
    finite = np.isfinite(population.weights).all(1)
    if not finite.all():
        rows = np.flatnonzero(~finite)
        raise LayoutMismatch(
            f"{len(rows)} of {len(population)} {role} networks hold values that are not "
            f"finite, first run {population['run_id'][rows[0]]!r}. Leave them out: "
            "population.select(np.isfinite(population.weights).all(1))."
        )
