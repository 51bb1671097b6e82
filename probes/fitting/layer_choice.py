"""Which layer to read, chosen on training networks alone."""

from __future__ import annotations

from catalog.catalog import Catalog
from catalog.dtypes import Array
from probes.exact.sweep import sweep
from probes.fitting.inputs import selected
from probes.fitting.plan import Plan


def layer_by_fold(catalog: Catalog, plan: Plan) -> dict[int, str]:
    """The best layer of every training side, by the `id` of its `Fold`.

    That from which exact ridge predicts held-out groups best: for other probes a proxy,
    which costs one Gram matrix and one eigendecomposition a layer where theirs would cost
    a whole fit. One layer of the training networks is in memory at a time.
    """
    found: dict[int, str] = {}
    for folds in plan.folds:
        for fold in folds.folds:
            if id(fold) not in found:
                found[id(fold)] = best_layer(catalog, plan, fold.train, folds.inside(fold))
    return found


def best_layer(catalog: Catalog, plan: Plan, rows: Array, groups: Array) -> str:
    """The best layer for some rows of a plan, see `layer_by_fold`."""
    networks = selected(catalog, plan.question.table.take(rows))
    values = plan.question.values
    return sweep(networks, values.y[rows], task=values.task, groups=groups).best
