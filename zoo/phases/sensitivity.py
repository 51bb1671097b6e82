"""Sensitivity of the labels: number of cells whose phase changes when a cutoff moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from catalog.dtypes import Array
from zoo.phases.cells import METRICS, Cells
from zoo.phases.rule import UNMEASURED, Cutoffs, positions
from zoo.phases.rule import labels as labels_of

LOSS_FACTOR = 1.5
"""Factor by which the train loss cutoff is multiplied and divided."""

STEPS = {"mode_connectivity": 0.01, "logit_cka": 0.05}
"""Distances by which the other cutoffs move, in units of their metric."""


def sensitivity(cells: Cells, cutoffs: Cutoffs, found: Array) -> list[dict[str, Any]]:
    """Count the labels that change when one cutoff moves and the others stay fixed.

    Parameters
    ----------
    cells : Cells
        Means and errors of the cells.
    cutoffs : Cutoffs
        Cutoffs to move, each down and up.
    found : ndarray of str, shape (c,)
        Labels at these cutoffs.

    Returns
    -------
    list of dict
        One row per move: ``metric``, ``from`` and ``to`` (the cutoff, in units of the
        metric), ``moved`` (number of cells whose label changes) and ``of`` (number of
        cells with a label).
    """
    rows = []
    labelled = int((found != UNMEASURED).sum())
    for name in METRICS:
        cutoff = getattr(cutoffs, name)
        moved_values = [cutoff.value / LOSS_FACTOR, cutoff.value * LOSS_FACTOR]
        if name in STEPS:
            moved_values = [cutoff.value - STEPS[name], cutoff.value + STEPS[name]]
        for value in moved_values:
            changed = replace(cutoffs, **{name: replace(cutoff, value=value)})
            new_labels = labels_of(
                positions(cells.mean, cells.error, changed), cells.reason
            )
            row = {"metric": name, "from": cutoff.value, "to": value}
            rows.append({**row, "moved": int((new_labels != found).sum()), "of": labelled})
    return rows
