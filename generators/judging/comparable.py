"""Whether networks can be compared: of one layout, finite, of other runs, and enough."""

from __future__ import annotations

import numpy as np

from catalog import CatalogError, LayoutMismatch, Population
from catalog.dtypes import Array

FEWEST = 20
"""Held-out networks, at least: the bar is the 5th percentile of their accuracy."""


def places(training: Population, population: Population) -> Array:
    """Rows of the population that the training networks were."""
    keys = zip(population["run_id"], population["step"], strict=True)
    place = {(str(run), int(step)): i for i, (run, step) in enumerate(keys)}
    wanted = zip(training["run_id"], training["step"], strict=True)
    rows = [place.get((str(run), int(step)), -1) for run, step in wanted]
    if missing := rows.count(-1):
        raise CatalogError(
            f"{missing} of the {len(rows)} networks that the generator was fitted to are "
            "not in the population that it is judged by. Pass the one that fit() got."
        )
    return np.array(rows, np.int64)


def check_sides(population: Population, heldout: Population) -> None:
    """Refuse training and held-out networks that say nothing of samples.

    Raises
    ------
    CatalogError
        If there are too few runs, or some are in both.
    LayoutMismatch
        If layouts differ or values are not finite.
    """
    runs, others = set(population["run_id"]), set(heldout["run_id"])
    if len(runs) < 2:
        raise CatalogError(
            f"Novelty is measured in distances between training runs: two are needed, "
            f"better hundreds. Got {len(runs)}."
        )
    if len(others) < FEWEST:
        raise CatalogError(
            f"There are {len(others)} held-out runs to judge by; {FEWEST} are needed, "
            "better hundreds: their 5th percentile is the accuracy that counts as "
            "performant. Load those that the generator has not seen, such as "
            "\"split_by_run = 'test'\"."
        )
    if both := runs & others:
        raise CatalogError(
            f"{len(both)} runs are in training and held out, such as {min(both)!r}. Split "
            "by run: \"split_by_run = 'train'\" and \"split_by_run = 'test'\"."
        )
    for what, networks in (("training", population), ("held-out", heldout)):
        _alike(networks, population, what)


def check_samples(samples: Population, population: Population) -> None:
    """Refuse samples that cannot be compared.

    Raises
    ------
    LayoutMismatch
        If there are none, or their layout differs or values are not finite.
    """
    if not len(samples):
        raise LayoutMismatch("There are no samples to judge. Make some: sample(n=100).")
    _alike(samples, population, "sampled")


def _alike(networks: Population, population: Population, what: str) -> None:
    if networks.layout.widened() != population.layout.widened():
        raise LayoutMismatch(
            f"The {what} networks have layout {networks.layout.id} (d = "
            f"{networks.layout.d}), training networks {population.layout.id} (d = "
            f"{population.layout.d}): {population.layout.difference(networks.layout)}. "
            "Judge each layout by networks of its own."
        )
    finite = np.isfinite(networks.weights).all(1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        instead = (
            "Sample with less guidance or a lower temperature, or leave them out"
            if what == "sampled"
            else "Leave them out"
        )
        raise LayoutMismatch(
            f"{len(bad)} of {len(networks)} {what} networks hold values that are not "
            f"finite, first run {networks['run_id'][bad[0]]!r}. {instead}, "
            "and say how many: population.select(np.isfinite(population.weights).all(1))."
        )
