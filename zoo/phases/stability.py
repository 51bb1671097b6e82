"""How sure a label is of the seeds: it is drawn again from resampled seeds."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array
from zoo.phases.cells import METRICS, Cells
from zoo.phases.rule import UNMEASURED, Cutoffs, positions
from zoo.phases.rule import labels as labels_of
from zoo.randomness import stream


def stability(
    cells: Cells, cutoffs: Cutoffs, found: Array, *, seed: int, draws: int = 200
) -> Array:
    """Share of bootstrap draws over the seeds of a cell that give it the same label.

    Parameters
    ----------
    found : ndarray of str, shape (c,)
        The labels.
    seed : int
        Each cell and step has a stream of its own, so its draws do not depend on the
        rest of the zoo.
    draws : int, default=200
        Resamples, with replacement.

    Returns
    -------
    ndarray of shape (c,)
        In [0, 1]; NaN where unmeasured.

    Notes
    -----
    A metric that every seed states as one value of the cell cannot be resampled; it gets
    a normal error of its stated standard error, or none where none is stated: then only
    the other metrics move.
    """
    shares = np.full(len(cells), np.nan)
    rows = np.flatnonzero(cells.counts)
    rows = rows[np.argsort(cells.member[rows], kind="stable")]
    starts = np.searchsorted(cells.member[rows], np.arange(len(cells) + 1))
    for i in np.flatnonzero(cells.reason == ""):
        own = rows[starts[i] : starts[i + 1]]
        draw = stream(seed, f"phase stability {cells.cell[i]} {cells.step[i]}")
        picked = own[draw.integers(0, len(own), (draws, len(own)))]
        mean = {}
        for name in METRICS:
            value, error = cells.mean[name][i], cells.error[name][i]
            noise = draw.standard_normal(draws)
            if np.ptp(cells.values[name][own]) <= 1e-12 * abs(value):
                mean[name] = value + noise * np.nan_to_num(error)
            else:
                mean[name] = _mean(cells.values[name][picked])
        none = dict.fromkeys(METRICS, np.full(draws, np.nan))
        again = labels_of(positions(mean, none, cutoffs), np.full(draws, "", object))
        shares[i] = (again == found[i]).mean()
    return np.where(found == UNMEASURED, np.nan, shares)


def _mean(values: Array) -> Array:
    """Mean over the last axis of what is there; NaN where nothing is."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean: Array = np.where(there, values, 0).sum(-1) / there.sum(-1)
    return mean
