"""How good a saved probe is on networks that it has not learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import CatalogError
from catalog.catalog import Catalog, arrow_table
from catalog.dtypes import Array
from probes.fitting.target_columns import TargetValues
from probes.judging.judge import Estimate, judged_as_is
from probes.judging.kinship import branch, families, joined, parents_in
from probes.probe import Probe
from probes.targets import Targets


@dataclass(frozen=True)
class Applied:
    """Scores of a probe on networks that are new to it.

    Attributes
    ----------
    estimates : list of Estimate
        Empty if none can be scored. The baseline is NaN for files that do not say what
        the trivial answer is.
    judged_on, groups : int
        Networks, and independent groups of them, which intervals resample.
    learnt_from : int
        Networks that are left out of the score: the probe learnt from them, from one they
        were made from, or from a copy.
    note : str
        Why there is no score; empty if there is.
    """

    estimates: list[Estimate]
    judged_on: int = 0
    groups: int = 0
    learnt_from: int = 0
    note: str = ""


def judged(
    catalog: Catalog,
    table: pa.Table,
    probe: Probe,
    scores: Array,
    cut: float,
    about: dict[str, Any],
) -> Applied:
    """Score what a probe said about some rows, where their target is known.

    Parameters
    ----------
    table : pyarrow.Table
        n rows as `probes.fitting.question.rows` gives them.
    scores : ndarray of shape (n, width)
        What the probe said, and the ``cut`` from which a label holds.
    about : dict
        What `probes.saving.about` says of the file.
    """
    try:
        asked = _asked(catalog, table, about["provenance"]["targets"])
        values = TargetValues.of(
            asked, asked.column_names, about["result"]["task"], constant=True
        )
    except CatalogError as error:  # another catalogue may lack the column
        return Applied([], note=f"No score: {error}")
    groups = _groups(catalog, table, about["train"], about["provenance"]["by"])
    learnt = groups == 0
    chosen = values.known & ~learnt
    left = int((values.known & learnt).sum())
    if not chosen.any():
        why = f"the probe learnt from all {left:,} networks with a known {about['target']}"
        return Applied([], learnt_from=left, note=f"No score: {why}, or from their kin.")
    y = _aligned(values, about["labels"])[chosen[values.known]]
    targets = _targets(probe, y)
    _, own = np.unique(groups[chosen], return_inverse=True)
    prior = _prior(probe, targets, about.get("trivial"))
    judgement = judged_as_is(probe, scores[chosen], cut, y, targets, own, prior)
    found = [one for one in judgement.estimates() if np.isfinite(one.value)]
    if about.get("trivial") is None:
        found = [replace(one, baseline=np.nan) for one in found]
    return Applied(found, len(y), int(own.max()) + 1, left)


def _asked(catalog: Catalog, table: pa.Table, expressions: dict[str, str]) -> pa.Table:
    """Targets of the rows of a table, in its order."""
    columns = ", ".join(
        f"({sql}) AS pz_target_{i}" for i, sql in enumerate(expressions.values())
    )
    found = arrow_table(catalog.sql(f"SELECT run_id, step, {columns} FROM models"))
    keys = found["run_id"].to_pylist(), found["step"].to_pylist()
    place = {key: i for i, key in enumerate(zip(*keys, strict=True))}
    wanted = zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)
    rows = found.take(pa.array([place[key] for key in wanted]))
    return rows.drop_columns(["run_id", "step"]).rename_columns(list(expressions))


def _groups(catalog: Catalog, table: pa.Table, learnt: Sequence[str], by: str) -> Array:
    """Group (n,) of related rows; 0 is what a probe learnt from, with its kin and copies.

    As `Folds` has them: in a fit by sibling, children of one parent are strangers.
    """
    parents = parents_in(catalog)
    train = sorted(set(learnt))
    copies = _contents(catalog, train)
    runs = [*train, *table["run_id"].to_pylist()]
    contents = [*(copies.get(run) for run in train), *table["content"].to_pylist()]
    first = len(train)
    kin: list[object] = (
        [branch(run, parents) for run in runs]
        if by == "sibling"
        else families(runs, parents).tolist()
    )
    groups = joined(kin, contents)
    known = np.unique(groups[:first])
    own = groups[first:]
    found: Array = np.where(np.isin(own, known), 0, own + 1)
    return found


def _contents(catalog: Catalog, runs: list[str]) -> dict[str, str]:
    """Hash of the weights of the last checkpoint of some runs."""
    query = "SELECT run_id, arg_max(content, step) FROM models GROUP BY run_id"
    known = dict(catalog.sql(query).fetchall())
    return {run: known[run] for run in runs if known.get(run)}


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


def _prior(probe: Probe, targets: Targets, means: Sequence[float] | None) -> Array:
    """Means (width,) of encoded targets in training; 0 for classes it had none of."""
    found = np.zeros(targets.width)
    if means is None:
        return found
    own: Targets = probe.targets_
    values = np.asarray(means, np.float64)
    if targets is own or own.classes is None or targets.classes is None:
        return values
    if own.kind == "binary":
        values = np.array([1 - values[0], values[0]])
    found[np.searchsorted(targets.classes, own.classes)] = values
    return found
