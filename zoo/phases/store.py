"""Storing of phase labels in the catalogue, as measures of the checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa

from catalog import Catalog, CatalogError, NotFound
from catalog.catalog import arrow_table
from catalog.console.pasting import word
from catalog.dtypes import Array
from catalog.errors import closest
from catalog.fitted.unexpected_content import as_written
from catalog.quoting import literal
from catalog.rows import rows_of
from catalog.schema import MEASURES
from catalog.storage.json_column import json_object
from zoo.phases.calibration import find_cutoffs
from zoo.phases.cells import METRICS, SHARPNESS, cell_means, numbers
from zoo.phases.label import Labels, label_cells
from zoo.phases.provenance import EVALUATED, check_measured, one_setting, with_train_loss
from zoo.phases.rule import PHASES, UNMEASURED

VERSION = 2
"""Version of the rule; raise it with every change that changes labels."""

_WANTED = (
    "run_id", "step", "source", "cell", "load", "temperature", "status", "diverged_step",
    *METRICS, EVALUATED, "mode_connectivity_se", "logit_cka_se", *SHARPNESS,
    "chance_loss", "interpolation_loss", "logit_cka_random",
)  # fmt: skip

_LABELS = [column.name for column in MEASURES]

FLOORLESS = ("language",)
"""Objectives whose loss cannot reach 0 and has no known floor."""


def label_zoo(
    catalog: Catalog,
    zoo: str,
    *,
    step: int | str = "all",
    classes: int | None = None,
    seed: int = 0,
    cka_reference: float | None = None,
    train_loss: float | None = None,
    mode_connectivity: float | None = None,
    logit_cka: float | None = None,
) -> Labels:
    """Label every (cell, step) of a zoo that has the metrics, and commit changed labels.

    Calibration uses every measured step, whatever ``step`` says, so that the cutoffs are
    those of the zoo. A network that has diverged has no phase, though the other seeds of
    its cell may have one. If no cell can have a phase, all are ``unmeasured``, with the
    reason, and no cutoffs are computed.

    The train loss is the loss recorded by training, or the evaluated loss if there is no
    recorded one; for imported runs the evaluated loss takes precedence. A note of the
    calibration says which loss was used.

    Parameters
    ----------
    catalog : Catalog
        Catalogue at its newest version; `Catalog.refreshed` shows the labels afterwards.
    zoo : str
        Name of the zoo.
    step : int or {"all", "last"}, default="all"
        Checkpoints to label; ``last`` is the last checkpoint of each run.
    classes : int, optional
        Number of classes of the task, whose logarithm is the loss of chance; the default
        is that of the zoo's task in `zoo.tasks`.
    seed : int, default=0
        Seed of the draws behind ``phase_stability``.
    cka_reference, train_loss, mode_connectivity, logit_cka : float, optional
        Reference and cutoffs, see `zoo.phases.find_cutoffs`. The default reference is the
        mean CKA with freshly initialised networks, if it is measured.

    Returns
    -------
    Labels
        Labels of the requested steps.

    Raises
    ------
    NotFound
        If the catalogue has no such zoo, or the zoo has no such step.
    CatalogError
        If metrics, the grid or the number of classes is missing, or a metric was measured
        with different settings within the zoo.
    """
    catalog.check_writable()
    table, losses = _metrics(catalog, zoo)
    if classes is not None and classes < 2:
        raise CatalogError(f"The number of classes must be at least 2. Got {classes}.")
    chance, interpolation = (
        _anchor(table, n) for n in ("chance_loss", "interpolation_loss")
    )
    used = [*METRICS[1:], *([EVALUATED] if EVALUATED in losses else [])]
    if cka_reference is None and "logit_cka_random" in table.column_names:
        references = table["logit_cka_random"].drop_null().to_numpy()
        references = references[np.isfinite(references)]
        if len(references):
            used.append("logit_cka_random")
            cka_reference = float(references.mean())
    measured = one_setting(catalog, zoo, used)
    cells = cell_means(table)
    can_label = bool((cells.reason == "").any())
    if can_label and classes is None and train_loss is None and chance is None:
        classes = _classes(catalog, zoo)
    if _floorless(catalog, zoo, table):
        interpolation = math.nan
    anchors = {
        "chance_loss": chance if classes is None else math.log(classes),
        "interpolation_loss": interpolation,
        "cka_reference": cka_reference,
        "train_loss": train_loss,
        "mode_connectivity": mode_connectivity,
        "logit_cka": logit_cka,
    }
    selected = _at(table, zoo, step)
    calibration = find_cutoffs(cells, **anchors) if can_label else None
    if calibration is not None:
        sources = ", ".join(f"{name} of {n} checkpoints" for name, n in losses.items())
        notes = (*calibration.notes, f"Train loss: {sources}.")
        calibration = replace(calibration, notes=notes)
    part = table.filter(pa.array(selected))
    labels = label_cells(part, seed=seed, calibration=calibration)
    provenance = {
        "code": "zoo.phases",
        "version": VERSION,
        "seed": seed,
        "classes": classes,
        "train_loss": losses,
        "measures": measured,
        **({} if calibration is None else calibration.to_json()),
    }
    measures = _measures(part, labels)
    if any(repr(measures[c].to_pylist()) != repr(part[c].to_pylist()) for c in _LABELS):
        with catalog.writer() as writer:
            writer.commit_measures(measures, "phase", provenance)
    return labels


def _metrics(catalog: Catalog, zoo: str) -> tuple[pa.Table, dict[str, int]]:
    """Return the metrics of a zoo, and the sources of their train loss."""
    model_columns = set(catalog.sql("FROM models").columns)
    zoos = [row["zoo"] for row in rows_of(catalog, "SELECT DISTINCT zoo FROM runs")]
    if zoo not in zoos:
        raise NotFound(f"No zoo {zoo!r} in {catalog.root}. {closest(zoo, zoos)}")
    _check_names(catalog)
    columns = [name for name in _WANTED if name in model_columns]
    columns += _LABELS
    table = arrow_table(
        catalog.sql(
            f"SELECT {', '.join(columns)}, step = max(step) OVER (PARTITION BY run_id) AS "
            f"last FROM models WHERE zoo = {literal(zoo)} ORDER BY run_id, step"
        )
    )
    table, losses = with_train_loss(table)
    check_measured(catalog, zoo, table)
    if table["cell"].null_count:
        raise CatalogError(
            f"{table['cell'].null_count} of {len(table)} checkpoints of {zoo} have no "
            "cell, but phases belong to the cells of a grid of load and temperature."
        )
    return table, losses


def _check_names(catalog: Catalog) -> None:
    """Raise `CatalogError` if imported columns would hide the labels."""
    label_names = {column.name for column in MEASURES}
    for view in ("runs", "checkpoints"):
        columns = catalog.sql(f"FROM {view}").columns
        taken = sorted(name for name in columns if name.lower() in label_names)
        if taken:
            raise CatalogError(
                f"The imported {view} of this catalogue have the columns "
                f"{', '.join(taken)}, which would hide the labels. Import that zoo again "
                f"with --rename {word(f'{taken[0]}=published_{taken[0]}')}."
            )


def _anchor(table: pa.Table, name: str) -> float | None:
    """Return a measured loss if the whole zoo shares it up to 10 %, else None."""
    values = table[name].drop_null().to_numpy() if name in table.column_names else []
    if len(values) and np.ptp(values) <= 0.1 * np.mean(values):
        return float(np.mean(values))
    return None


def _floorless(catalog: Catalog, zoo: str, table: pa.Table) -> bool:
    """Return whether the floor of this zoo's train loss is unknown.

    Either `zoo.metrics.scores` measured the chance loss but no interpolation loss, or the
    objective of the zoo's task is one of `FLOORLESS`.
    """
    from zoo.tasks import TASKS

    names = ("chance_loss", "interpolation_loss")
    if set(names) <= set(table.column_names):
        chance, interpolation = (numbers(table, n) for n in names)
        if np.isfinite(chance).any() and not np.isfinite(interpolation).any():
            return True
    tasks = rows_of(
        catalog, "SELECT DISTINCT task_name FROM runs WHERE zoo = :zoo", zoo=zoo
    )
    for row in tasks:
        try:
            if TASKS[row["task_name"] or ""].objective in FLOORLESS:
                return True
        except NotFound:
            continue
    return False


def _classes(catalog: Catalog, zoo: str) -> int:
    """Return the number of classes of a zoo whose runs share one task."""
    from zoo.tasks import TASKS

    rows = rows_of(
        catalog, "SELECT DISTINCT task_name, task FROM runs WHERE zoo = :zoo", zoo=zoo
    )
    counts = set()
    for row in rows:
        recorded = json_object(row["task"], f"A task of {zoo}") if row["task"] else {}
        if (classes := recorded.get("classes")) is not None:
            with as_written(f"A task of {zoo}", "one", "Give --classes N."):
                counts.add(len(classes) if isinstance(classes, list) else int(classes))
            continue
        try:
            task = TASKS[row["task_name"] or ""]
        except NotFound as error:
            raise CatalogError(
                f"The number of classes of {row['task_name'] or 'the task'} of {zoo} is "
                f"not known. Give it, e.g. --classes 10. {error}"
            ) from error
        if task.objective != "classification":
            raise CatalogError(
                f"The objective of {zoo} is {task.objective}, and its loss of chance was "
                f"not measured. Measure it: phasezoo measure {word(zoo)} --metric scores; "
                "or give the cutoff: --train-loss 0.1"
            )
        counts.add(task.classes)
    if len(counts) != 1:
        raise CatalogError(
            f"The runs of {zoo} have tasks of {sorted(counts)} classes, so there is no "
            "common loss of chance. Give the cutoff itself: --train-loss 0.1"
        )
    return counts.pop()


def _at(table: pa.Table, zoo: str, step: int | str) -> Array:
    """Return the mask of the checkpoints to label."""
    if step == "all":
        return np.ones(len(table), bool)
    if step == "last":
        return np.array(table["last"].to_pylist(), bool)
    steps = np.array(table["step"].to_pylist())
    if not isinstance(step, int) or not (steps == step).any():
        listed = ", ".join(map(str, np.unique(steps)[:12].tolist()))
        raise NotFound(
            f"{zoo} has no step {step}. It has: {listed}. Give one of these steps, 'last' "
            "or 'all'."
        )
    mask: Array = steps == step
    return mask


def _measures(table: pa.Table, labels: Labels) -> pa.Table:
    """Return one row per checkpoint: the label of its cell, unless it has diverged."""
    member, counts = labels.cells.member, labels.cells.counts
    phase = np.where(counts, labels.phase[member], UNMEASURED)
    reason = np.where(counts, labels.reason[member], "diverged or not finite")
    cell_reason = labels.reason[member]
    reason = np.where((labels.phase[member] == UNMEASURED) & ~counts, cell_reason, reason)
    value_of = {
        "phase_confidence": labels.confidence,
        "phase_distance": labels.distance,
        "phase_stability": labels.stability,
        **{
            f"phase_score_{name.lower().replace('-', '_')}": labels.scores[i]
            for i, name in enumerate(PHASES)
        },
    }
    columns = {
        "run_id": table["run_id"],
        "step": table["step"],
        "phase": pa.array(phase.tolist(), pa.string()),
        "phase_reason": pa.array(reason.tolist(), pa.string()),
    }
    for name, values in value_of.items():
        column = np.where(phase == UNMEASURED, np.nan, values[member])
        # A null would keep the value of an earlier label, so NaN overwrites it.
        labelled_before = table[name].is_valid().to_numpy(zero_copy_only=False)
        columns[name] = pa.array(column, mask=np.isnan(column) & ~labelled_before)
    return pa.table(columns)
