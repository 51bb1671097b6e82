"""Fitting a probe to what a catalogue holds: judged, kept as a file, written back."""

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
from catalog.plugins.settings import Settings
from catalog.storage.inside_folder import check_inside, folder_inside
from catalog.storage.whole_file import folder_of
from probes import file as probe_file
from probes.estimators.statistics_probe import StatisticsProbe
from probes.exact.sweep import sweep
from probes.fitting import predictions
from probes.fitting.inputs import ProbeInputs, selected_networks, weight_statistics, weights
from probes.fitting.plan import Plan
from probes.fitting.predictions import StoredPredictions
from probes.fitting.training_set import TrainingSet
from probes.judging.folds import Fold
from probes.judging.judge import Judgement, judge, seeded
from probes.judging.notes import notes
from probes.probe import Probe
from probes.statistics.within import numbered

FOLDER = "probes"
"""Of a catalogue: fitted probes."""
_ALL = 0
"""In place of a fold: all networks."""


def fit_probe(
    catalog: Catalog,
    name: str,
    targets: Sequence[str],
    *,
    where: str = "true",
    steps: str = "last",
    task: str = "auto",
    by: str = "run",
    deal: int | None = None,
    layer: Sequence[str] = (),
    seeds: int = 1,
    settings: Settings = (),
    relative: str | None = None,
    to: str | Path | None = None,
    again: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Fit a probe, judge it on networks that it has not seen, keep it and what it says.

    The probe becomes a file, and its predictions columns of `models`: ``PROBE_TARGET``,
    and ``PROBE_TARGET_split``, which says where a network stood. With a fixed split they
    are of the probe that was judged, which has not seen the networks of "test"; with
    folds, held-out zoos or trees each is of a fit without its group ("test"), and the file
    holds one more fit, to all networks.

    Parameters
    ----------
    name : str
        Of a probe, see `probes.estimators.PROBES`.
    targets, where, steps, task
        See `probes.fitting.selection.TargetSelection.of`.
    by, deal
        See `probes.judging.folds.Folds.of`.
    layer : sequence of str
        Tensors to read; ``("auto",)`` chooses one in every fold, on training networks.
    seeds : int
        Fits with random states 0, 1, ..., and with other folds where these are dealt.
    settings : mapping or iterable of str
        See `probes.fitting.settings.probe_named`.
    relative : str, optional
        See `StatisticsProbe`; only of the probe "statistics". Networks of a zoo are
        compared with those that are learnt from there, in every fold; those of a held-out
        zoo with one another.
    to : str or Path, optional
        A file that is not there yet; default one in the folder ``probes`` of the catalogue.
    again : bool
        Fit also if the same was fitted before; that file is replaced.
    announce : callable
        Is told what will be done before it is; and whose predictions were replaced: those
        of other fits of the probe to the target are in the same columns.

    Returns
    -------
    dict
        JSON values: ``estimates`` and what they are of, ``file``, ``columns``, and
        ``known``, whether it was fitted before.

    Raises
    ------
    CatalogError
        If something is asked that cannot be answered: before any weights are read.
    """
    plan = Plan.of(
        catalog, name, targets, where=where, steps=steps, task=task, by=by, deal=deal,
        layer=layer, seeds=seeds, settings=settings, relative=relative,
    )  # fmt: skip
    path = Path(to) if to is not None else catalog.root / FOLDER / plan.file
    if to is None:
        check_inside(catalog.root, path)
    known = _known(catalog, plan, path, again)
    if known is not None:
        _show(catalog, plan, known["columns"], announce)
        return {**known, "file": str(path), "known": True}
    for line in plan.notes:
        announce(line)
    chosen = layer_by_fold(catalog, plan) if plan.choose_layer else {}
    if plan.choose_layer and not plan.fixed:
        every = np.arange(len(plan.question))
        chosen[_ALL] = best_layer(catalog, plan, every, plan.folds[0].groups)
    material = read(catalog, plan, sorted(set(chosen.values())))
    if plan.by_statistics:
        plan.probe.set_params(described=True, relative=plan.relative)
    else:
        plan.probe.set_params(layout=material.layout)

    def prepare(probe: Probe, fold: Fold) -> None:
        probe.set_params(layer=chosen[id(fold)])

    y = plan.question.values.y
    try:
        judgement = judge(
            plan.probe, material.X, y, plan.folds, prepare=prepare if chosen else None
        )
        kept = judgement.probe
        if not plan.fixed:
            kept = seeded(plan.probe, 0)
            if chosen:
                kept.set_params(layer=chosen[_ALL])
            kept.fit(material.X, y, plan.folds[0].groups)
    except ValueError as error:  # how estimators refuse parameters, targets and weights
        raise CatalogError(f"The probe {name!r} refuses: {error}") from error
    columns = predictions.prediction_columns(
        name, plan.question.name, plan.question.values.labels
    )
    result = {**_result(plan, judgement), "layer": kept.layer, "columns": columns}
    told = predictions.prediction_table(
        plan.question.table, columns, *_predicted(plan, material, judgement, kept)
    )
    if to is None:
        folder_inside(catalog.root, FOLDER)
    else:
        folder_of(path, instead=probe_file.INSTEAD)
    _keep(catalog, plan, material, kept, path, result)
    predictions.write(catalog, told, name, plan.provenance, announce)
    return {**result, "file": str(path), "known": False}


def read(catalog: Catalog, plan: Plan, layers: Sequence[str] = ()) -> ProbeInputs:
    """What the probe of a plan reads; of weights no more than the chosen layers."""
    table = plan.question.table
    if not plan.by_statistics:
        return weights(catalog, table, list(layers) or plan.probe.layer)
    params = plan.probe.get_params(deep=False)
    found = weight_statistics(catalog, table, params)
    if plan.relative is None:
        return found
    return replace(found, X=numbered(found.X, table["zoo"].to_pylist(), plan.zoos))


def _known(catalog: Catalog, plan: Plan, path: Path, again: bool) -> dict[str, Any] | None:
    """The result of the same fit, if it is there with all that it said."""
    if not path.exists():
        return None
    kept = probe_file.about(path)
    if kept.get("measure_id") != plan.measure_id:
        raise CatalogError(
            f"{path} holds another probe. Name another file with --to, or delete it."
        )
    if again or "learnt_from" not in kept:  # an older version wrote it
        return None
    with probe_file.as_probe(path):
        result: dict[str, Any] = kept["result"]
        shown = StoredPredictions(catalog.refreshed(), result["columns"])
        told = shown.written(plan.measure_id)
    return result if told is not None and len(told) == len(plan.question) else None


def _show(
    catalog: Catalog, plan: Plan, columns: list[str], announce: Callable[[str], None]
) -> None:
    """Write again what a fit said, if `models` shows something else in its columns."""
    shown = StoredPredictions(catalog.refreshed(), columns)
    told = shown.written(plan.measure_id)
    assert told is not None
    if shown.others(told, plan.measure_id)[0]:
        announce("Others wrote to its columns since: its predictions are written again.")
        predictions.write(catalog, told, plan.probe.name, plan.provenance, announce)


def _predicted(
    plan: Plan, material: ProbeInputs, judgement: Judgement, probe: Probe
) -> tuple[Array, list[str]]:
    """Predictions of all rows that were asked about, and their sides."""
    if not plan.fixed:
        return judgement.predictions(), ["test"] * len(plan.question)
    side = np.full(len(plan.question), "mixed", object)
    fold = plan.folds[0].folds[0]
    side[fold.train], side[fold.test] = "train", "test"
    return probe.predict(material.X), side.tolist()


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
        "estimates": [asdict(one) for one in estimates],
        "by_fold": {name: [asdict(one) for one in own] for name, own in by_fold.items()},
        "notes": notes(judgement, estimates, by_fold),
        "by_target": {
            label: [asdict(one) for one in judgement.estimates(i)]
            for i, label in enumerate(values.labels)
        }
        if several
        else {},
    }


def _keep(
    catalog: Catalog,
    plan: Plan,
    material: ProbeInputs,
    probe: Probe,
    path: Path,
    result: dict[str, Any],
) -> None:
    table, rows = plan.question.table, plan.rows("train")
    learnt = TrainingSet.of(catalog, table.take(pa.array(rows)), plan.folds[0].by)
    tested = table["run_id"].take(pa.array(plan.rows("test"))).to_pylist()
    about = {
        "measure_id": plan.measure_id,
        "provenance": plan.provenance,
        "result": result,
        "target": plan.question.name,
        "labels": list(plan.question.values.labels),
        "statistics": list(material.statistics),
        "aggregate": material.aggregate,
        "relative": plan.relative,
        "zoos": plan.zoos,
        **learnt.kept(),
        "test": sorted(set(tested)),
        "trivial": probe.targets_.encode(plan.question.values.y[rows]).mean(0).tolist(),
    }
    whole = plan.relative is None and material.layout is not None
    if whole and isinstance(probe, StatisticsProbe):
        assert material.layout is not None
        probe = probe.reading(material.layout, material.aggregate)
    probe_file.save(probe, path, about)


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
    networks = selected_networks(catalog, plan.question.table.take(rows))
    values = plan.question.values
    return sweep(networks, values.y[rows], task=values.task, groups=groups).best
