"""Checks that networks are comparable: one layout, finite, other runs, and enough."""

from __future__ import annotations

import numpy as np

from catalog import CatalogError, LayoutMismatch, Population
from catalog.dtypes import Array

FEWEST = 20
"""Minimum number of held-out runs: the bar is the 5th percentile of their accuracy."""


def places(training: Population, population: Population) -> Array:
    """Return the rows of the population that hold the training networks.

    Raises
    ------
    CatalogError
        If training networks are not in the population.
    """
    keys = zip(population["run_id"], population["step"], strict=True)
    row_of = {(str(run), int(step)): i for i, (run, step) in enumerate(keys)}
    training_keys = zip(training["run_id"], training["step"], strict=True)
    rows = [row_of.get((str(run), int(step)), -1) for run, step in training_keys]
    if missing := rows.count(-1):
        raise CatalogError(
            f"{missing} of the {len(rows)} networks that the generator was fitted to are "
            "not in the population that it is judged by. Pass the population that was "
            "given to fit()."
        )
    return np.array(rows, np.int64)


def check_sides(population: Population, heldout: Population) -> None:
    """Check that training and held-out networks are fit to judge samples.

    Raises
    ------
    CatalogError
        If there are too few runs, or runs are in both sets.
    LayoutMismatch
        If layouts differ or values are not finite.
    """
    runs, heldout_runs = set(population["run_id"]), set(heldout["run_id"])
    if len(runs) < 2:
        raise CatalogError(
            f"Novelty is measured in distances between training runs, so at least two runs "
            f"are needed, better hundreds. Got {len(runs)}."
        )
    if len(heldout_runs) < FEWEST:
        raise CatalogError(
            f"There are {len(heldout_runs)} held-out runs to judge by; at least {FEWEST} "
            "are needed, better hundreds: the 5th percentile of their accuracy is the bar "
            "for performant networks. Load runs that the generator has not seen, such as "
            "\"split_by_run = 'test'\"."
        )
    if shared_runs := runs & heldout_runs:
        raise CatalogError(
            f"{len(shared_runs)} runs are in training and held out, such as "
            f"{min(shared_runs)!r}. Split by run: \"split_by_run = 'train'\" and "
            "\"split_by_run = 'test'\"."
        )
    for role, networks in (("training", population), ("held-out", heldout)):
        _check_alike(networks, population, role)


def check_samples(samples: Population, population: Population) -> None:
    """Check that samples can be compared with the training networks.

    Raises
    ------
    LayoutMismatch
        If there are no samples, their layout differs or values are not finite.
    """
    if not len(samples):
        raise LayoutMismatch("There are no samples to judge. Draw some: sample(n=100).")
    _check_alike(samples, population, "sampled")


def _check_alike(networks: Population, population: Population, role: str) -> None:
    if networks.layout.widened() != population.layout.widened():
        raise LayoutMismatch(
            f"The {role} networks have layout {networks.layout.id} (d = "
            f"{networks.layout.d}), training networks {population.layout.id} (d = "
            f"{population.layout.d}): {population.layout.difference(networks.layout)}. "
            "Judge samples by training networks of the same layout."
        )
    finite = np.isfinite(networks.weights).all(1)
    if not finite.all():
        rows = np.flatnonzero(~finite)
        instead = (
            "Sample with less guidance or a lower temperature, or leave them out"
            if role == "sampled"
            else "Leave them out"
        )
        raise LayoutMismatch(
            f"{len(rows)} of {len(networks)} {role} networks hold values that are not "
            f"finite, first run {networks['run_id'][rows[0]]!r}. {instead}, "
            "and report how many: "
            "population.select(np.isfinite(population.weights).all(1))."
        )
