"""Scores of a saved probe on networks outside its training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import CatalogError
from catalog.catalog import Catalog, arrow_table
from catalog.dtypes import Array
from probes.fitting.target_columns import TargetValues
from probes.fitting.training_set import Standing
from probes.judging.judge import Estimate, judged_as_is
from probes.probe import Probe
from probes.targets import Targets


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
        n_known = n_train + n_related
        all_known = "the only network" if n_known == 1 else f"all {n_known:,} networks"
        reason = (
            f"{all_known} with a known {about['target']} {'is' if n_known == 1 else 'are'} "
            f"in the training set of the probe, or related to it by {by}"
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
