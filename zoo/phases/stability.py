"""How sure a label is: it is drawn again from the standard errors of its metrics."""

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
    """Share of draws of a cell's metrics that give it the same label by the same rule.

    Parameters
    ----------
    found : ndarray of str, shape (c,)
        The labels.
    seed : int
        Each cell and step has a stream of its own, so its draws do not depend on the
        rest of the zoo.
    draws : int, default=200
        Of each metric.

    Returns
    -------
    ndarray of shape (c,)
        In [0, 1]; NaN where unmeasured, and where the standard error of a metric that the
        label hangs on is not known: CKA decides in phase IV only.

    Notes
    -----
    A draw is the mean of the cell plus a normal error of its standard error, independent
    of the other metrics; of the train loss in logarithms. The errors themselves, which are
    a part of the rule, stay those of the cell. A resample of the seeds would not do: the
    values of connectivity and CKA at a seed are means over the pairs it is in.
    """
    shares = np.full(len(cells), np.nan)
    for i in np.flatnonzero(found != UNMEASURED):
        error = {name: float(cells.error[name][i]) for name in METRICS}
        needed = METRICS if found[i] in PHASES[3:] else METRICS[:2]
        if any(np.isnan(error[name]) for name in needed):
            continue
        draw = stream(seed, f"phase stability {cells.cell[i]} {cells.step[i]}")
        mean = {}
        for name in METRICS:
            value = cells.mean[name][i]
            noise = np.nan_to_num(error[name]) * draw.standard_normal(draws)
            if name != "train_loss":
                mean[name] = value + noise
            else:
                mean[name] = value * np.exp(noise / value if value > 0 else 0 * noise)
        errors = {name: np.full(draws, error[name]) for name in METRICS}
        again = labels_of(positions(mean, errors, cutoffs), np.full(draws, "", object))
        shares[i] = (again == found[i]).mean()
    return shares
