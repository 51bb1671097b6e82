"""Fitting a probe to networks of a catalogue, with scores, file and stored predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import CatalogError
from catalog.catalog import Catalog
from catalog.dtypes import Array
from catalog.plugins.keywords import takes_fields
from probes import file as probe_file
from probes.estimators.statistics_probe import StatisticsProbe
from probes.fitting import predictions
from probes.fitting.inputs import ProbeInputs, weight_statistics, weights
from probes.fitting.kept_file import kept_file, make_folder
from probes.fitting.layer_choice import best_layer, layer_by_fold
from probes.fitting.plan import Plan
from probes.fitting.predictions import StoredPredictions
from probes.fitting.request import FitRequest
from probes.fitting.training_set import TrainingSet
from probes.judging.folds import Fold
from probes.judging.judge import Judgement, judge, seeded
from probes.judging.notes import notes
from probes.probe import Probe
from probes.statistics.within import numbered

_ALL = 0
"""Key of the layer for the fit to all networks, in place of the `id` of a fold."""


@takes_fields(FitRequest, without="probe")
def fit_probe(
    catalog: Catalog,
    name: str,
    targets: Sequence[str],
    *,
    announce: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> dict[str, Any]:
    """Fit a probe, see `fit`; the keywords are the other options of `FitRequest`."""
    request = FitRequest(probe=name, targets=tuple(targets), **options)
    return fit(catalog, request, announce)


def fit(
    catalog: Catalog,
    request: FitRequest,
    announce: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Fit a probe, score it on held-out networks, and save it with its predictions.

    The probe is written to a file, and its predictions to columns of `models`:
    ``PROBE_TARGET``, and ``PROBE_TARGET_split`` with the side of each network. With a fixed
    split, all predictions are of the probe that is scored, which was fitted without the
    networks of "test". With folds, or held-out zoos or trees, each prediction is of a fit
    without the group of the network ("test"), and the file holds one more fit, to all
    networks.

    Nothing is written to a remote catalogue: the file is ``to``, else one in the current
    folder, and the predictions are not committed, which is announced.

    Parameters
    ----------
    announce : callable
        Called with a description of the fit before it starts, and with a line for each
        other fit of the probe to the target whose predictions were replaced, because all
        these fits share the columns.

    Returns
    -------
    dict
        JSON values: ``estimates`` with what was scored, ``file``, ``columns``,
        ``committed``, which is true if these are columns of `models`, and ``known``, which
        is true if the fit was stored before.

    Raises
    ------
    CatalogError
        If the request does not suit the catalogue; it is checked before any weights are
        read.
    """
    plan, name, to = Plan.of(catalog, request), request.probe, request.to
    path = kept_file(catalog, plan.file, to)
    kept = {"file": str(path), "committed": catalog.writable}
    known = _known(catalog, plan, path)
    if known is not None:
        _show(catalog, plan, known["columns"], announce)
        return {**known, **kept, "known": True}
    for line in plan.notes:
        announce(line)
    layer_of = layer_by_fold(catalog, plan) if plan.request.chooses_layer else {}
    if plan.request.chooses_layer and not plan.fixed:
        all_rows = np.arange(len(plan.question))
        layer_of[_ALL] = best_layer(catalog, plan, all_rows, plan.folds[0].groups)
    inputs = read(catalog, plan, sorted(set(layer_of.values())))
    if plan.by_statistics:
        plan.probe.set_params(described=True, relative=plan.request.relative)
    else:
        plan.probe.set_params(layout=inputs.layout)

    def prepare(probe: Probe, fold: Fold) -> None:
        probe.set_params(layer=layer_of[id(fold)])

    y = plan.question.values.y
    try:
        judgement = judge(
            plan.probe, inputs.X, y, plan.folds, prepare=prepare if layer_of else None
        )
        fitted = judgement.probe
        if not plan.fixed:
            fitted = seeded(plan.probe, 0)
            if layer_of:
                fitted.set_params(layer=layer_of[_ALL])
            fitted.fit(inputs.X, y, plan.folds[0].groups)
    except ValueError as error:  # raised by estimators for parameters, targets and weights
        raise CatalogError(f"The probe {name!r} cannot be fitted: {error}") from error
    columns = predictions.prediction_columns(
        name, plan.question.name, plan.question.values.labels
    )
    result = {**_result(plan, judgement), "layer": fitted.layer, "columns": columns}
    written = predictions.prediction_table(
        plan.question.table, columns, *_predicted(plan, inputs, judgement, fitted)
    )
    make_folder(catalog, to)
    _keep(catalog, plan, inputs, fitted, path, result)
    predictions.write(catalog, written, name, plan.provenance, announce)
    return {**result, **kept, "known": False}


def read(catalog: Catalog, plan: Plan, layers: Sequence[str] = ()) -> ProbeInputs:
    """Read the inputs of the probe of a plan; of weights only the chosen layers."""
    table = plan.question.table
    if not plan.by_statistics:
        return weights(catalog, table, list(layers) or plan.probe.layer)
    params = plan.probe.get_params(deep=False)
    inputs = weight_statistics(catalog, table, params)
    if plan.request.relative is None:
        return inputs
    return replace(inputs, X=numbered(inputs.X, table["zoo"].to_pylist(), plan.zoos))


def _known(catalog: Catalog, plan: Plan, path: Path) -> dict[str, Any] | None:
    """Return the stored result of the same fit, if all its predictions are stored."""
    if not path.exists():
        return None
    about = probe_file.about(path)
    if about.get("measure_id") != plan.measure_id:
        raise CatalogError(
            f"{path} holds another probe. Name another file with --to, or delete it."
        )
    if plan.request.again or "learnt_from" not in about:  # written by an older version
        return None
    with probe_file.as_probe(path):
        result: dict[str, Any] = about["result"]
        if not catalog.writable:
            return result  # the file alone is kept
        stored = StoredPredictions(catalog.refreshed(), result["columns"])
        written = stored.written(plan.measure_id)
    return result if written is not None and len(written) == len(plan.question) else None


def _show(
    catalog: Catalog, plan: Plan, columns: list[str], announce: Callable[[str], None]
) -> None:
    """Write the predictions of a fit again, if other values have replaced them."""
    if not catalog.writable:
        announce(predictions.not_committed(catalog))
        return
    stored = StoredPredictions(catalog.refreshed(), columns)
    written = stored.written(plan.measure_id)
    assert written is not None
    if stored.others(written, plan.measure_id)[0]:
        announce(
            "Other values have replaced predictions of this fit, which are written again."
        )
        predictions.write(catalog, written, plan.probe.name, plan.provenance, announce)


def _predicted(
    plan: Plan, inputs: ProbeInputs, judgement: Judgement, probe: Probe
) -> tuple[Array, list[str]]:
    """Return the predictions of all selected rows, and the side of each row."""
    if not plan.fixed:
        return judgement.predictions(), ["test"] * len(plan.question)
    side = np.full(len(plan.question), "mixed", object)
    fold = plan.folds[0].folds[0]
    side[fold.train], side[fold.test] = "train", "test"
    return probe.predict(inputs.X), side.tolist()


def _result(plan: Plan, judgement: Judgement) -> dict[str, Any]:
    values, folds = plan.question.values, plan.folds[0]
    estimates = judgement.estimates()
    by_fold = judgement.by_fold() if folds.strata else {}
    several = judgement.targets.kind in ("regression", "multilabel") and values.y.ndim == 2
    return {
        "probe": plan.probe.name,
        "target": plan.question.name,
        "task": values.task,
        "by": folds.by,
        "seeds": len(plan.folds),
        "networks": len(plan.question),
        "learnt_from": len(folds.folds[0].train) if plan.fixed else None,
        "judged_on": len(judgement.tested),
        "groups": plan.tested_groups,
        "left_out": plan.question.left_out,
        "estimates": [asdict(estimate) for estimate in estimates],
        "by_fold": {
            name: [asdict(estimate) for estimate in fold_estimates]
            for name, fold_estimates in by_fold.items()
        },
        "notes": notes(judgement, estimates, by_fold),
        "by_target": {
            label: [asdict(estimate) for estimate in judgement.estimates(i)]
            for i, label in enumerate(values.labels)
        }
        if several
        else {},
    }


def _keep(
    catalog: Catalog,
    plan: Plan,
    inputs: ProbeInputs,
    probe: Probe,
    path: Path,
    result: dict[str, Any],
) -> None:
    table, rows = plan.question.table, plan.rows("train")
    training_set = TrainingSet.of(catalog, table.take(pa.array(rows)), plan.folds[0].by)
    tested = table["run_id"].take(pa.array(plan.rows("test"))).to_pylist()
    about = {
        "measure_id": plan.measure_id,
        "provenance": plan.provenance,
        "result": result,
        "target": plan.question.name,
        "labels": list(plan.question.values.labels),
        "statistics": list(inputs.statistics),
        "aggregate": inputs.aggregate,
        "relative": plan.request.relative,
        "zoos": plan.zoos,
        **training_set.kept(),
        "test": sorted(set(tested)),
        "trivial": probe.targets_.encode(plan.question.values.y[rows]).mean(0).tolist(),
    }
    reads_one_layout = plan.request.relative is None and inputs.layout is not None
    if reads_one_layout and isinstance(probe, StatisticsProbe):
        assert inputs.layout is not None
        probe = probe.reading(inputs.layout, inputs.aggregate)
    probe_file.save(probe, path, about)
