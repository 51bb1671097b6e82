"""How good a saved probe is on networks that it has not learnt from."""

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


def judged(
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
