"""Application of a saved probe to other networks of a catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import CatalogError, Layout, LayoutMismatch
from catalog.catalog import Catalog, arrow_table
from catalog.checkpoints import layouts, rows
from catalog.console.pasting import word
from catalog.dtypes import Array
from catalog.quoting import literal
from probes import file as probe_file
from probes.fitting import predictions
from probes.fitting.inputs import ProbeInputs, weight_chunks, weight_statistics
from probes.fitting.plan import among_themselves
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
    """Predict with a probe that `fit_probe` saved, and write the predictions back.

    The predictions fill the same columns as those of the fit. The column that ends with
    ``_split`` is "train" for networks of the training set and all their copies, "test" for
    networks that the fit was tested on, "kin" for networks related to the training set
    (the fit keeps these on one side with the training networks, such as children and, with
    ``by="cell"``, other seeds), and "new" for all other networks.

    Parameters
    ----------
    path : str or Path
        File of the probe.
    where, steps
        See `probes.fitting.selection.TargetSelection.of`.
    announce : callable
        Called with warnings, and with a line for each fit whose predictions were replaced.

    Returns
    -------
    predictions : pyarrow.Table
        ``run_id``, ``step``, the predictions, and the split.
    left_out : dict of str to int
        Number of selected networks without a prediction, by reason.
    applied : Applied
        Scores on networks with a known target outside the training set.

    Raises
    ------
    LayoutMismatch
        If the tensors of the networks differ from those of the training networks.
    CatalogError
        If the file holds no probe with its targets, if it does not record its training
        set, or if nothing is selected.
    """
    path = Path(path)
    about = probe_file.about(path)
    if "labels" not in about:
        raise CatalogError(
            f"{path} does not record its target. Write it with 'phasezoo probe NAME "
            "--target COLUMN', or use probes.load(...).predict(weights)."
        )
    with probe_file.as_probe(path):
        training_set = TrainingSet.read(about, path)
    probe = probe_file.load(path)
    table, left_out = rows(catalog, where, steps)
    with probe_file.as_probe(path):
        scores, cut = _decided(catalog, table, probe, about, path, announce)
        standing = training_set.standing(catalog, table)
        split = np.where(standing.kin, "kin", "new").astype(object)
        split[np.isin(table["run_id"].to_pylist(), about["test"])] = "test"
        split[standing.same] = "train"
        columns = predictions.prediction_columns(
            probe.name, about["target"], about["labels"]
        )
        applied = judge_new(catalog, table, probe, scores, cut, about, standing)
        predicted = probe.targets_.decide(scores, cut)
        written = predictions.prediction_table(table, columns, predicted, split.tolist())
        provenance = {**about["provenance"], "applied": {"where": where, "steps": steps}}
    predictions.write(catalog, written, probe.name, provenance, announce)
    return written, left_out, applied


def _decided(
    catalog: Catalog,
    table: pa.Table,
    probe: Probe,
    about: dict[str, Any],
    path: Path,
    announce: Callable[[str], None],
) -> tuple[Array, float]:
    """Compute scores (n, width), and the score above which a label holds."""
    if probe.layout is not None:
        _check_layout(catalog, table, probe.layout, path)
        chunks = weight_chunks(catalog, table, probe.layout)
        parts = [probe._decided(block) for block in chunks]
        return np.concatenate([scores for scores, _ in parts]), parts[0][1]
    params = {**probe.get_params(deep=False), "aggregate": about["aggregate"]}
    X = _ordered(weight_statistics(catalog, table, params), about, path)
    if about["relative"] is not None:
        zoos, training_zoos = table["zoo"].to_pylist(), about["learnt_from"]["zoos"]
        if unseen := sorted(set(zoos) - set(training_zoos)):
            announce(among_themselves(unseen))
        X = numbered(X, zoos, about["zoos"])
    return probe._decided(X)


def _check_layout(catalog: Catalog, table: pa.Table, layout: Layout, path: Path) -> None:
    """Check that names and shapes of tensors agree; dtypes and symmetries may differ."""
    for arch, arch_rows in layouts(table).items():
        shapes = {p.name: p.shape for p in catalog.layout(arch) if p.in_vector}
        for param in layout:
            if param.in_vector and shapes.get(param.name) != param.shape:
                difference = (
                    f"it has shape {shapes[param.name]}"
                    if param.name in shapes
                    else "it is missing"
                )
                raise LayoutMismatch(
                    f"{path} reads {param.name!r} of shape {param.shape}; in "
                    f"{len(arch_rows)} of the selected networks {difference}. Narrow "
                    f"--where, e.g. {word(f'arch_id <> {literal(arch)}')}; the probe "
                    "'statistics' reads several layouts."
                )


def _ordered(inputs: ProbeInputs, about: dict[str, Any], path: Path) -> Array:
    names = about["statistics"]
    place = {name: i for i, name in enumerate(inputs.statistics)}
    unmatched = [name for name in names if name not in place]
    if not about["aggregate"]:  # at another depth the last layer is another one
        unmatched += [name for name in place if name not in names]
    if unmatched:
        raise LayoutMismatch(
            f"{path} reads {len(names)} statistics, and the selected networks have "
            f"{len(place)}; only one of the two has "
            f"{', '.join(map(repr, unmatched[:3]))}. Narrow --where to networks with the "
            "same tensors, or fit the probe again with --set aggregate=true."
        )
    X: Array = np.ascontiguousarray(inputs.X[:, [place[name] for name in names]])
    return X


@dataclass(frozen=True)
class Applied:
    """Scores of a probe on networks outside its training set.

    Attributes
    ----------
    estimates : list of Estimate
        Scores; empty if no network can be scored, without intervals if there is one group.
    judged_on, groups : int
        Number of scored networks, and of independent groups that intervals resample.
    learnt_from, kin : int
        Numbers of networks that are left out of the score: networks of the training set
        and their copies, and networks related to the training set, such as other seeds of
        a cell.
    by : str
        Grouping with which the probe was fitted, one of `probes.judging.folds.BY`.
    note : str
        Reason why there is no score; empty if there is one.
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
    """Score the predictions of a probe for the rows whose target is known.

    Intervals resample the groups that the fit keeps on one side: runs, or all seeds of a
    cell, or whole zoos.

    Parameters
    ----------
    table : pyarrow.Table
        n rows as `catalog.checkpoints.rows` returns them.
    scores : ndarray of shape (n, width)
        Scores that the probe predicts.
    cut : float
        Score above which a label holds.
    about : dict
        Result of `probes.file.about` for the file.
    standing : Standing
        Relation of the rows to the training set.
    """
    by = about["provenance"]["by"]
    try:
        target_table = _target_table(catalog, table, about["provenance"]["targets"])
        values = TargetValues.of(
            target_table, target_table.column_names, about["result"]["task"], constant=True
        )
    except CatalogError as error:  # the column may be missing in another catalogue
        return Applied([], by=by, note=f"No score: {error}")
    is_new = values.known & (standing.groups > 0)
    n_train = int((values.known & standing.same).sum())
    n_related = int((values.known & standing.kin).sum())
    if not is_new.any():
        reason = (
            f"all {n_train + n_related:,} networks with a known {about['target']} are in "
            f"the training set of the probe, or related to it by {by}"
        )
        return Applied([], 0, 0, n_train, n_related, by, f"No score: {reason}.")
    y = _aligned(values, about["labels"])[is_new[values.known]]
    targets = _targets(probe, y)
    _, groups = np.unique(standing.groups[is_new], return_inverse=True)
    prior = _prior(probe, targets, about["trivial"])
    judgement = judged_as_is(probe, scores[is_new], cut, y, targets, groups, prior)
    estimates = [
        estimate for estimate in judgement.estimates() if np.isfinite(estimate.value)
    ]
    return Applied(estimates, len(y), int(groups.max()) + 1, n_train, n_related, by)


def _target_table(
    catalog: Catalog, table: pa.Table, expressions: dict[str, str]
) -> pa.Table:
    """Read the targets of the rows of a table, in the order of the table."""
    columns = ", ".join(
        f"{catalog.expression(sql)} AS pz_target_{i}"
        for i, sql in enumerate(expressions.values())
    )
    values = arrow_table(catalog.sql(f"SELECT run_id, step, {columns} FROM models"))
    keys = values["run_id"].to_pylist(), values["step"].to_pylist()
    place = {key: i for i, key in enumerate(zip(*keys, strict=True))}
    wanted_keys = zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)
    rows = values.take(pa.array([place[key] for key in wanted_keys]))
    return rows.drop_columns(["run_id", "step"]).rename_columns(list(expressions))


def _aligned(values: TargetValues, labels: Sequence[str]) -> Array:
    """Order the targets like the labels of a probe; a label without values is 0."""
    if values.y.ndim == 1 or tuple(labels) == values.labels:
        return values.y
    place = {label: i for i, label in enumerate(values.labels)}
    columns = [
        values.y[:, place[label]] if label in place else np.zeros(len(values.y), np.int64)
        for label in labels
    ]
    return np.stack(columns, axis=1)


def _targets(probe: Probe, y: Array) -> Targets:
    """Return the targets of the probe, extended by further classes of the networks."""
    known: Targets = probe.targets_
    if known.classes is None or np.isin(y, known.classes).all():
        return known
    classes = np.unique(np.concatenate([known.classes, np.unique(y)]))
    return Targets("multiclass", len(classes), classes)


def _prior(probe: Probe, targets: Targets, means: Sequence[float]) -> Array:
    """Return training means (width,) of encoded targets; 0 for classes not in training."""
    prior = np.zeros(targets.width)
    known: Targets = probe.targets_
    values = np.asarray(means, np.float64)
    if targets is known or known.classes is None or targets.classes is None:
        return values
    if known.kind == "binary":
        values = np.array([1 - values[0], values[0]])
    prior[np.searchsorted(targets.classes, known.classes)] = values
    return prior
