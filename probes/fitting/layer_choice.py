"""Choice of the layer that a probe reads, on training networks."""

from __future__ import annotations

from catalog.catalog import Catalog
from catalog.dtypes import Array
from probes.exact.sweep import sweep
from probes.fitting.inputs import selected_networks
from probes.fitting.plan import Plan


def layer_by_fold(catalog: Catalog, plan: Plan) -> dict[int, str]:
    """Choose the best layer for every training set, by the `id` of its `Fold`.

    The best layer is the one from which exact ridge predicts held-out groups best. For
    other probes this is a proxy: it costs one Gram matrix and one eigendecomposition per
    layer instead of a whole fit. One layer of the training networks is in memory at a time.
    """
    layer_of: dict[int, str] = {}
    for folds in plan.folds:
        for fold in folds.folds:
            if id(fold) not in layer_of:
                layer_of[id(fold)] = best_layer(
                    catalog, plan, fold.train, folds.inside(fold)
                )
    return layer_of


def best_layer(catalog: Catalog, plan: Plan, rows: Array, groups: Array) -> str:
    """Choose the best layer for some rows of a plan, see `layer_by_fold`."""
    networks = selected_networks(catalog, plan.question.table.take(rows))
    values = plan.question.values
    return sweep(networks, values.y[rows], task=values.task, groups=groups).best
