"""What a saved probe says about other networks of a catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import CatalogError, Layout, LayoutMismatch
from catalog.catalog import Catalog, arrow_table
from catalog.console.pasting import word
from catalog.dtypes import Array
from catalog.quoting import literal
from probes import file as probe_file
from probes.fitting import predictions
from probes.fitting.inputs import ProbeInputs, weight_chunks, weight_statistics
from probes.fitting.plan import among_themselves
from probes.fitting.selection import layouts, rows
from probes.fitting.target_columns import TargetValues
from probes.fitting.training_set import Standing, TrainingSet
from probes.judging.judge import Estimate, judged_as_is
from probes.probe import Probe
from probes.statistics.within import numbered
from probes.targets import Targets


def apply_probe(
    catalog: Catalog,
    path: str | Path,
    *,
    where: str = "true",
    steps: str = "last",
    announce: Callable[[str], None] = lambda line: None,
) -> tuple[pa.Table, dict[str, int], Applied]:
    """Predict with a probe that `fit_probe` kept, and write the predictions back.

    The columns are those that the fit filled. The one that ends with ``_split`` says
    "train" of a network that the probe learnt from, and of every copy; "test" of one that
    it was judged on; "kin" of others that the fit keeps on one side with what was learnt
    from, such as children and, by cell, other seeds; "new" of all others.

    Parameters
    ----------
    path : str or Path
        The file of the probe.
    where, steps
        See `probes.fitting.selection.TargetSelection.of`.
    announce : callable
        Is told what to mind, and whose predictions were replaced.

    Returns
    -------
    predictions : pyarrow.Table
        ``run_id``, ``step``, the predictions, and the split.
    left_out : dict of str to int
        Selected networks without a prediction, by the reason.
    applied : Applied
        Scores on networks with a known target that the probe has not learnt from.

    Raises
    ------
    LayoutMismatch
        If the networks have other tensors than those that the probe learnt from.
    CatalogError
        If the file holds no probe with its targets, or does not say what it learnt from,
        or nothing is selected.
    """
    path = Path(path)
    about = probe_file.about(path)
    if "labels" not in about:
        raise CatalogError(
            f"{path} does not say what it predicts. Write it with 'phasezoo probe NAME "
            "--target COLUMN', or use probes.load(...).predict(weights)."
        )
    with probe_file.as_probe(path):
        learnt = TrainingSet.read(about, path)
    probe = probe_file.load(path)
    table, left_out = rows(catalog, where, steps)
    with probe_file.as_probe(path):
        scores, cut = _decided(catalog, table, probe, about, path, announce)
        standing = learnt.standing(catalog, table)
        split = np.where(standing.kin, "kin", "new").astype(object)
        split[np.isin(table["run_id"].to_pylist(), about["test"])] = "test"
        split[standing.same] = "train"
        columns = predictions.prediction_columns(
            probe.name, about["target"], about["labels"]
        )
        applied = judge_new(catalog, table, probe, scores, cut, about, standing)
        predicted = probe.targets_.decide(scores, cut)
        told = predictions.prediction_table(table, columns, predicted, split.tolist())
        provenance = {**about["provenance"], "applied": {"where": where, "steps": steps}}
    predictions.write(catalog, told, probe.name, provenance, announce)
    return told, left_out, applied


def _decided(
    catalog: Catalog,
    table: pa.Table,
    probe: Probe,
    about: dict[str, Any],
    path: Path,
    announce: Callable[[str], None],
) -> tuple[Array, float]:
    """Scores (n, width), and the one from which a label holds."""
    if probe.layout is not None:
        _check_layout(catalog, table, probe.layout, path)
        own = weight_chunks(catalog, table, probe.layout)
        parts = [probe._decided(block) for block in own]
        return np.concatenate([scores for scores, _ in parts]), parts[0][1]
    params = {**probe.get_params(deep=False), "aggregate": about["aggregate"]}
    X = _ordered(weight_statistics(catalog, table, params), about, path)
    if about["relative"] is not None:
        zoos, learnt = table["zoo"].to_pylist(), about["learnt_from"]["zoos"]
        if unseen := sorted(set(zoos) - set(learnt)):
            announce(among_themselves(unseen))
        X = numbered(X, zoos, about["zoos"])
    return probe._decided(X)


def _check_layout(catalog: Catalog, table: pa.Table, layout: Layout, path: Path) -> None:
    """Names and shapes must agree; how a tensor is stored and permuted need not."""
    for arch, own in layouts(table).items():
        theirs = {p.name: p.shape for p in catalog.layout(arch) if p.in_vector}
        for param in layout:
            if param.in_vector and theirs.get(param.name) != param.shape:
                told = (
                    f"of shape {theirs[param.name]}"
                    if param.name in theirs
                    else "not there"
                )
                raise LayoutMismatch(
                    f"{path} reads {param.name!r} of shape {param.shape}; in {len(own)} of "
                    f"the selected networks it is {told}. Narrow --where, e.g. "
                    f"{word(f'arch_id <> {literal(arch)}')}; the probe 'statistics' learns "
                    "from several layouts."
                )


def _ordered(material: ProbeInputs, about: dict[str, Any], path: Path) -> Array:
    names = about["statistics"]
    place = {name: i for i, name in enumerate(material.statistics)}
    lacking = [name for name in names if name not in place]
    if not about[
        "aggregate"
    ]:  # another depth: the last layer is not the one that was the last
        lacking += [name for name in place if name not in names]
    if lacking:
        raise LayoutMismatch(
            f"{path} reads {len(names)} statistics, the selected networks have "
            f"{len(place)}: {', '.join(map(repr, lacking[:3]))} on one side only. Narrow "
            "--where to networks with the same tensors, or learn anew with --set "
            "aggregate=true."
        )
    found: Array = np.ascontiguousarray(material.X[:, [place[name] for name in names]])
    return found


@dataclass(frozen=True)
class Applied:
    """Scores of a probe on networks that are new to it.

    Attributes
    ----------
    estimates : list of Estimate
        Empty if none can be scored. Without an interval if there is one group.
    judged_on, groups : int
        Networks, and independent groups of them, which intervals resample.
    learnt_from, kin : int
        Networks that are left out of the score: the probe learnt from them, or from a copy;
        or from what the fit keeps on one side with them, such as other seeds of a cell.
    by : str
        How the probe was fitted: what the groups are, one of `probes.judging.folds.BY`.
    note : str
        Why there is no score; empty if there is.
    """

    estimates: list[Estimate]
    judged_on: int = 0
    groups: int = 0
    learnt_from: int = 0
    kin: int = 0
    by: str = "run"
    note: str = ""


def judge_new(
    catalog: Catalog,
    table: pa.Table,
    probe: Probe,
    scores: Array,
    cut: float,
    about: dict[str, Any],
    standing: Standing,
) -> Applied:
    """Score what a probe said about some rows, where their target is known.

    Intervals resample what the fit keeps on one side: runs, or all seeds of a cell, or
    whole zoos.

    Parameters
    ----------
    table : pyarrow.Table
        n rows as `probes.fitting.selection.rows` gives them.
    scores : ndarray of shape (n, width)
        What the probe said, and the ``cut`` from which a label holds.
    about : dict
        What `probes.file.about` says of the file.
    standing : Standing
        Of the rows, to what the probe learnt from.
    """
    by = about["provenance"]["by"]
    try:
        asked = _asked(catalog, table, about["provenance"]["targets"])
        values = TargetValues.of(
            asked, asked.column_names, about["result"]["task"], constant=True
        )
    except CatalogError as error:  # another catalogue may lack the column
        return Applied([], by=by, note=f"No score: {error}")
    chosen = values.known & (standing.groups > 0)
    left = int((values.known & standing.same).sum())
    kin = int((values.known & standing.kin).sum())
    if not chosen.any():
        why = (
            f"the probe learnt from all {left + kin:,} networks with a known "
            f"{about['target']}, or from their kin by {by}"
        )
        return Applied([], 0, 0, left, kin, by, f"No score: {why}.")
    y = _aligned(values, about["labels"])[chosen[values.known]]
    targets = _targets(probe, y)
    _, own = np.unique(standing.groups[chosen], return_inverse=True)
    prior = _prior(probe, targets, about["trivial"])
    judgement = judged_as_is(probe, scores[chosen], cut, y, targets, own, prior)
    found = [one for one in judgement.estimates() if np.isfinite(one.value)]
    return Applied(found, len(y), int(own.max()) + 1, left, kin, by)


def _asked(catalog: Catalog, table: pa.Table, expressions: dict[str, str]) -> pa.Table:
    """Targets of the rows of a table, in its order."""
    columns = ", ".join(
        f"{catalog.expression(sql)} AS pz_target_{i}"
        for i, sql in enumerate(expressions.values())
    )
    found = arrow_table(catalog.sql(f"SELECT run_id, step, {columns} FROM models"))
    keys = found["run_id"].to_pylist(), found["step"].to_pylist()
    place = {key: i for i, key in enumerate(zip(*keys, strict=True))}
    wanted = zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)
    rows = found.take(pa.array([place[key] for key in wanted]))
    return rows.drop_columns(["run_id", "step"]).rename_columns(list(expressions))


def _aligned(values: TargetValues, labels: Sequence[str]) -> Array:
    """Targets in the order of the labels that a probe learnt; a class not there is 0."""
    if values.y.ndim == 1 or tuple(labels) == values.labels:
        return values.y
    place = {label: i for i, label in enumerate(values.labels)}
    columns = [
        values.y[:, place[label]] if label in place else np.zeros(len(values.y), np.int64)
        for label in labels
    ]
    return np.stack(columns, axis=1)


def _targets(probe: Probe, y: Array) -> Targets:
    """Those of the probe; with further classes, if networks have some."""
    own: Targets = probe.targets_
    if own.classes is None or np.isin(y, own.classes).all():
        return own
    classes = np.unique(np.concatenate([own.classes, np.unique(y)]))
    return Targets("multiclass", len(classes), classes)


def _prior(probe: Probe, targets: Targets, means: Sequence[float]) -> Array:
    """Means (width,) of encoded targets in training; 0 for classes it had none of."""
    found = np.zeros(targets.width)
    own: Targets = probe.targets_
    values = np.asarray(means, np.float64)
    if targets is own or own.classes is None or targets.classes is None:
        return values
    if own.kind == "binary":
        values = np.array([1 - values[0], values[0]])
    found[np.searchsorted(targets.classes, own.classes)] = values
    return found
