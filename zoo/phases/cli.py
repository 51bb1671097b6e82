"""Command `phases`, which labels the cells of a zoo."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import numpy as np

from catalog.catalog import Catalog, open_catalog
from catalog.console.outlet import say
from catalog.console.program import (
    catalog_option,
    json_option,
    print_json,
    print_table,
    verb,
)
from catalog.errors import CatalogError
from catalog.rows import Rows, rows_of
from catalog.storage.whole_file import whole_file

_KINDS = (".svg", ".png", ".pdf")

_SCORES = ("test_accuracy", "test_relative_error")
"""Test scores of the networks; a score is shown if it has a value."""

_NO_PHASE = "No cell has all the metrics that a phase needs."


@verb("phases digits_mlp_phases --plot phases.svg")
@click.argument("zoo")
@click.option(
    "--plot", metavar="FILE", help="Draw the phase diagrams to a .svg, .png or .pdf file."
)
@click.option(
    "--step",
    default="all",
    show_default=True,
    metavar="N|last|all",
    help="Checkpoints to label: those at step N, the last of each run, or all.",
)
@click.option(
    "--classes",
    type=click.IntRange(2),
    help="Number of classes of the task, which gives the train loss of chance. Default: "
    "that of the recorded task.",
)
@click.option(
    "--train-loss",
    type=float,
    help="Cutoff of the train loss in nats: cells above it are under-fitted. Default: "
    "calibrated on the zoo.",
)
@click.option(
    "--connectivity",
    type=float,
    help="Cutoff of mode connectivity as a fraction of train error, such as -0.02: cells "
    "below it are under-sized. Default: calibrated on the zoo.",
)
@click.option(
    "--cka",
    type=float,
    help="Cutoff, from 0 to 1, of the CKA between the logits of a cell's seeds: below it "
    "cells are over-fitted, above it generalising. Default: calibrated on the zoo.",
)
@click.option(
    "--cka-reference",
    type=float,
    help="CKA of unrelated networks, from which the CKA cutoff is calibrated. Default: the "
    "measured CKA with freshly initialised networks.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    help="Seed of the random draws that estimate the stability of the labels.",
)
@catalog_option
@json_option
def phases(
    zoo: str,
    plot: str | None,
    step: str,
    classes: int | None,
    train_loss: float | None,
    connectivity: float | None,
    cka: float | None,
    cka_reference: float | None,
    seed: int,
    catalog_path: str,
    as_json: bool,
) -> None:
    """Label every cell of ZOO with its phase of learning.

    A cell is a point of the zoo's grid with its runs of several seeds. The phases are I
    (under-fitted and under-sized), II (under-fitted), III (under-sized), IV-A (over-fitted)
    and IV-B (generalising), after Yang et al. 2021; a cell is unmeasured if a metric is
    missing. The labels become columns phase... of models.

    The command needs the train loss, mode connectivity and CKA between seeds; measure them
    first with `phasezoo measure ZOO`. Cells with a single seed get no phase.
    """
    from zoo.phases.store import label_zoo

    number = re.fullmatch("[0-9]{1,18}", step)
    if step not in ("all", "last") and not number:
        raise click.BadParameter(f"{step!r} is not a step. Give a number, 'last' or 'all'.")
    if plot and not plot.endswith(_KINDS):
        raise click.BadParameter(f"{plot!r} must end in one of {', '.join(_KINDS)}.")
    requested = int(step) if number else step
    store = open_catalog(catalog_path)
    labels = label_zoo(
        store, zoo, step=requested, classes=classes, seed=seed, cka_reference=cka_reference,
        train_loss=train_loss, mode_connectivity=connectivity, logit_cka=cka,
    )  # fmt: skip
    store = store.refreshed()
    document = _document(store, zoo, requested, labels)
    if plot:
        _draw(store, zoo, requested, Path(plot))
        document["plot"] = plot
    print_json(document) if as_json else _print(document)


def _document(store: Catalog, zoo: str, step: int | str, labels: Any) -> dict[str, Any]:
    """Return the labels of a zoo and their quality as JSON values."""
    from zoo.phases.contiguity import contiguity

    cells, last = labels.cells, {}
    for i in np.argsort(cells.step, kind="stable"):
        last[cells.cell[i]] = i
    ends = np.array(sorted(last.values()))
    neighbours = contiguity(
        cells.load[ends], cells.temperature[ends], labels.phase[ends], seed=0
    )
    calibration = labels.calibration
    reasons: dict[str, int] = {}
    for reason in labels.reason[labels.phase == "unmeasured"]:
        reasons[reason] = reasons.get(reason, 0) + 1
    return {
        "zoo": zoo,
        "cells": len(set(cells.cell.tolist())),
        "labelled": len(cells) - sum(reasons.values()),
        "phases": _counts(store, zoo, step),
        "cutoffs": _cutoffs(calibration.cutoffs) if calibration else [],
        "best_train_loss": calibration.best_train_loss if calibration else None,
        "lacks": list(calibration.lacks) if calibration else [_NO_PHASE],
        "notes": list(calibration.notes) if calibration else [],
        "sensitivity": labels.sensitivity,
        "unmeasured": reasons,
        "near_a_boundary": int((np.abs(labels.distance) < 0.5).sum()),
        "unstable": int((labels.stability < 0.9).sum()),
        "stability_unknown": int(
            (np.isnan(labels.stability) & (labels.phase != "unmeasured")).sum()
        ),
        "equal_neighbours": neighbours.share,
        "equal_neighbours_shuffled": neighbours.shuffled,
    }


def _counts(store: Catalog, zoo: str, step: int | str) -> Rows:
    """Return the number of cells and the mean test scores of each stored phase."""
    where = {"all": "true", "last": "last"}.get(str(step), f"step = {step}")
    columns = store.sql("FROM models").columns
    scores = [name for name in _SCORES if name in columns]
    means = [f"avg({n}) FILTER (isfinite({n}::DOUBLE)) AS {n}" for n in scores]
    query = f"""
    SELECT phase, count(DISTINCT (cell, step)) AS cells, count(*) AS checkpoints,
        {", ".join(means)},
        avg(phase_confidence) AS confidence
    FROM (SELECT *, step = max(step) OVER (PARTITION BY run_id) AS last FROM models
        WHERE zoo = :zoo)
    WHERE {where} AND phase IS NOT NULL GROUP BY phase ORDER BY phase"""
    rows = rows_of(store, query, zoo=zoo)
    empty = [name for name in scores if all(row[name] is None for row in rows)]
    return [{k: v for k, v in row.items() if k not in empty} for row in rows]


def _cutoffs(cutoffs: Any) -> Rows:
    return [
        {
            "metric": c.metric,
            "cutoff": c.value,
            "origin": c.origin,
            "anchors": ", ".join(
                f"{name} {value:.3g}" for name, value in c.anchors.items()
            ),
        }
        for c in (cutoffs.train_loss, cutoffs.mode_connectivity, cutoffs.logit_cka)
    ]


def _print(document: dict[str, Any]) -> None:
    say(f"{document['zoo']}: {document['labelled']} pairs (cell, step) labelled")
    for name in ("phases", "cutoffs", "sensitivity"):
        if document[name]:
            print_table(document[name])
            say()
    for sentence in (*document["lacks"], *document["notes"]):
        say(sentence)
    for reason, count in document["unmeasured"].items():
        say(f"{count} unmeasured: {reason}.")
    if document["labelled"]:
        say(
            f"{document['near_a_boundary']} pairs (cell, step) are near a boundary between "
            f"phases, {document['unstable']} change their phase within their standard "
            "errors."
        )
    if document["stability_unknown"]:
        say(
            f"The stability of {document['stability_unknown']} pairs (cell, step) is not "
            "known: connectivity and CKA have a standard error only with 3 or more seeds."
        )
    if not np.isnan(document["equal_neighbours"]):
        say(
            f"{document['equal_neighbours']:.0%} of neighbouring cells have equal labels "
            f"({document['equal_neighbours_shuffled']:.0%} if labels were shuffled)."
        )
    if "plot" in document:
        say(document["plot"])


def _draw(store: Catalog, zoo: str, step: int | str, path: Path) -> None:
    from catalog.report.figure_text import save_figure
    from catalog.report.phase_pictures import phase_diagram

    figure = phase_diagram(store, zoo, step if isinstance(step, int) else None)
    if figure is None:
        raise CatalogError(f"{zoo} has no grid of load and temperature to draw.")
    with whole_file(path, instead="name another file with --plot FILE") as file:
        save_figure(figure, file, format=path.suffix[1:], dpi=150)
