"""Stability of labels under draws from the standard errors of the metrics."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array
from zoo.phases.cells import METRICS, Cells
from zoo.phases.rule import PHASES, UNMEASURED, Cutoffs, positions
from zoo.phases.rule import labels as labels_of
from zoo.randomness import stream


def stability(
    cells: Cells, cutoffs: Cutoffs, found: Array, *, seed: int, draws: int = 200
) -> Array:
    """Return the share of draws of a cell's metrics that give the same label.

    Parameters
    ----------
    cells : Cells
        Means and standard errors of the cells.
    cutoffs : Cutoffs
        Cutoffs of the rule.
    found : ndarray of str, shape (c,)
        Labels of the cells.
    seed : int
        Seed of the draws. Each cell and step has a stream of its own, so that its draws
        do not depend on the rest of the zoo.
    draws : int, default=200
        Number of draws of each metric.

    Returns
    -------
    ndarray of shape (c,)
        Share in [0, 1]; NaN if a cell is unmeasured, or if the standard error of a metric
        that its label depends on is not known. CKA matters in phase IV only.

    Notes
    -----
    A draw is the mean of the cell plus normal noise with its standard error, independent
    between metrics; the train loss is drawn in logarithms. The errors themselves, which are
    a part of the rule, stay those of the cell. Resampling the seeds would be wrong: the
    values of connectivity and CKA at a seed are means over the pairs that include the seed.
    """
    shares = np.full(len(cells), np.nan)
    for i in np.flatnonzero(found != UNMEASURED):
        error = {name: float(cells.error[name][i]) for name in METRICS}
        needed = METRICS if found[i] in PHASES[3:] else METRICS[:2]
        if any(np.isnan(error[name]) for name in needed):
            continue
        generator = stream(seed, f"phase stability {cells.cell[i]} {cells.step[i]}")
        drawn = {}
        for name in METRICS:
            value = cells.mean[name][i]
            noise = np.nan_to_num(error[name]) * generator.standard_normal(draws)
            if name != "train_loss":
                drawn[name] = value + noise
            else:
                drawn[name] = value * np.exp(noise / value if value > 0 else 0 * noise)
        errors = {name: np.full(draws, error[name]) for name in METRICS}
        new_labels = labels_of(
            positions(drawn, errors, cutoffs), np.full(draws, "", object)
        )
        shares[i] = (new_labels == found[i]).mean()
    return shares
