"""How many cells change their phase when a cutoff moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from catalog.dtypes import Array
from zoo.phases.cells import METRICS, Cells
from zoo.phases.rule import UNMEASURED, Cutoffs, positions
from zoo.phases.rule import labels as labels_of

LOSS_FACTOR = 1.5
"""The train loss cutoff is multiplied and divided by this."""

STEPS = {"mode_connectivity": 0.01, "logit_cka": 0.05}
"""The others move so far, in units of their metric."""


def sensitivity(cells: Cells, cutoffs: Cutoffs, found: Array) -> list[dict[str, Any]]:
    """Move each cutoff down and up, the others fixed.

    Returns
    -------
    list of dict
        ``metric``, ``from``, ``to`` (the cutoff, in units of the metric), ``moved``
        (cells whose label changes) and ``of`` (cells with a label).
    """
    rows = []
    labelled = int((found != UNMEASURED).sum())
    for name in METRICS:
        cutoff = getattr(cutoffs, name)
        moves = [cutoff.value / LOSS_FACTOR, cutoff.value * LOSS_FACTOR]
        if name in STEPS:
            moves = [cutoff.value - STEPS[name], cutoff.value + STEPS[name]]
        for value in moves:
            changed = replace(cutoffs, **{name: replace(cutoff, value=value)})
            again = labels_of(positions(cells.mean, cells.error, changed), cells.reason)
            row = {"metric": name, "from": cutoff.value, "to": value}
            rows.append({**row, "moved": int((again != found).sum()), "of": labelled})
    return rows
