"""The verb phases."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import numpy as np

from catalog.catalog import Catalog, open_catalog
from catalog.console.outlet import say
from catalog.console.program import catalog_option, json_option, print_json, print_table
from catalog.errors import CatalogError
from catalog.rows import Rows, rows_of
from catalog.storage.whole_file import whole_file

_KINDS = (".svg", ".png", ".pdf")

_JUDGED = ("test_accuracy", "test_relative_error")
"""What the networks of a task are judged by; shown where there is a value."""


@click.command(epilog="Example: phasezoo phases digits_mlp_phases --plot phases.svg")
@click.argument("zoo")
@click.option("--plot", metavar="FILE", help="Draw the diagrams: .svg, .png or .pdf.")
@click.option(
    "--step", default="all", show_default=True, metavar="N|last|all", help="Which to label."
)
@click.option("--classes", type=click.IntRange(2), help="Of a task that is not known here.")
@click.option("--train-loss", type=float, help="Cutoff by hand, nats.")
@click.option("--connectivity", type=float, help="And of mode connectivity, such as -0.02.")
@click.option("--cka", type=float, help="And of CKA between seeds.")
@click.option("--cka-reference", type=float, help="Measured CKA of unrelated networks.")
@click.option("--seed", default=0, show_default=True, help="Of the stability.")
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
    """Label the cells of ZOO with their phases, store the labels, draw the diagrams.

    Needs train loss, mode connectivity and CKA between seeds: `phasezoo measure ZOO`.
    """
    from zoo.phases.store import label_zoo

    number = re.fullmatch("[0-9]{1,18}", step)
    if step not in ("all", "last") and not number:
        raise click.BadParameter(f"{step!r} is no step; give a number, 'last' or 'all'.")
    if plot and not plot.endswith(_KINDS):
        raise click.BadParameter(f"{plot!r} must end in one of {', '.join(_KINDS)}.")
    chosen = int(step) if number else step
    store = open_catalog(catalog_path)
    found = label_zoo(
        store, zoo, step=chosen, classes=classes, seed=seed, cka_reference=cka_reference,
        train_loss=train_loss, mode_connectivity=connectivity, logit_cka=cka,
    )  # fmt: skip
    store = store.refreshed()
    document = _document(store, zoo, chosen, found)
    if plot:
        _draw(store, zoo, chosen, Path(plot))
        document["plot"] = plot
    print_json(document) if as_json else _print(document)


def _document(store: Catalog, zoo: str, step: int | str, found: Any) -> dict[str, Any]:
    from zoo.phases.contiguity import contiguity

    cells, last = found.cells, {}
    for i in np.argsort(cells.step, kind="stable"):
        last[cells.cell[i]] = i
    ends = np.array(sorted(last.values()))
    lies = contiguity(cells.load[ends], cells.temperature[ends], found.phase[ends], seed=0)
    known = found.calibration
    reasons: dict[str, int] = {}
    for reason in found.reason[found.phase == "unmeasured"]:
        reasons[reason] = reasons.get(reason, 0) + 1
    return {
        "zoo": zoo,
        "cells": len(set(cells.cell.tolist())),
        "labelled": len(cells) - sum(reasons.values()),
        "phases": _counts(store, zoo, step),
        "cutoffs": _cutoffs(known.cutoffs) if known else [],
        "best_train_loss": known.best_train_loss if known else None,
        "lacks": list(known.lacks) if known else ["No cell can have a phase."],
        "notes": list(known.notes) if known else [],
        "sensitivity": found.sensitivity,
        "unmeasured": reasons,
        "near_a_boundary": int((np.abs(found.distance) < 0.5).sum()),
        "unstable": int((found.stability < 0.9).sum()),
        "stability_unknown": int(
            (np.isnan(found.stability) & (found.phase != "unmeasured")).sum()
        ),
        "equal_neighbours": lies.share,
        "equal_neighbours_shuffled": lies.shuffled,
    }


def _counts(store: Catalog, zoo: str, step: int | str) -> Rows:
    where = {"all": "true", "last": "last"}.get(str(step), f"step = {step}")
    columns = store.sql("FROM models").columns
    judged = [name for name in _JUDGED if name in columns]
    means = [f"avg({n}) FILTER (isfinite({n}::DOUBLE)) AS {n}" for n in judged]
    query = f"""
    SELECT phase, count(DISTINCT (cell, step)) AS cells, count(*) AS checkpoints,
        {", ".join(means)},
        avg(phase_confidence) AS confidence
    FROM (SELECT *, step = max(step) OVER (PARTITION BY run_id) AS last FROM models
        WHERE zoo = :zoo)
    WHERE {where} AND phase IS NOT NULL GROUP BY phase ORDER BY phase"""
    rows = rows_of(store, query, zoo=zoo)
    empty = [name for name in judged if all(row[name] is None for row in rows)]
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
    say(f"{document['zoo']}: {document['labelled']} (cell, step) labelled")
    for name in ("phases", "cutoffs", "sensitivity"):
        if document[name]:
            print_table(document[name])
            say()
    for sentence in (*document["lacks"], *document["notes"]):
        say(sentence)
    for reason, count in document["unmeasured"].items():
        say(f"Unmeasured: {count} x {reason}.")
    if document["labelled"]:
        say(
            f"{document['near_a_boundary']} lie near a boundary, {document['unstable']} "
            "change their label within their standard errors."
        )
    if document["stability_unknown"]:
        say(
            f"The stability of {document['stability_unknown']} is not known: connectivity "
            "and CKA have a standard error from 3 seeds on."
        )
    if not np.isnan(document["equal_neighbours"]):
        say(
            f"{document['equal_neighbours']:.0%} of neighbours are equal "
            f"({document['equal_neighbours_shuffled']:.0%} if shuffled)."
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
