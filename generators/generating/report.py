"""Reports of the judge in a catalogue: writing, reading and plotting."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from catalog import CatalogError
from catalog.catalog import Catalog
from catalog.fitted.unexpected_content import as_written
from catalog.quoting import literal
from catalog.storage.whole_file import whole_file
from generators.judging.assessment import Assessment
from generators.judging.plot import save_plot

_ADVICE = "Delete the report, or give --again to judge again."
FORMAT = 2
"""Format of reports; reports of other formats are not read."""


def save_report(path: Path, result: Mapping[str, Any]) -> None:
    """Write a report as JSON; values that are not finite become null."""
    text = json.dumps(_finite_json({"format": FORMAT, **result}), indent=1)
    with whole_file(path) as file:
        file.write(text.encode())


def read_report(catalog: Catalog, path: Path) -> dict[str, Any] | None:
    """Read a report whose samples are still in the catalogue; None if there is none.

    Raises
    ------
    CatalogError
        If the file is damaged.
    """
    if not path.exists():
        return None
    with as_report(path):
        report: dict[str, Any] = json.loads(path.read_text())
        if report.pop("format", None) != FORMAT:  # an older version wrote it
            return None
        samples = [str(run) for run in report["samples"]]
        for name in ("assessments", "points", "table", "control", "file", "plot"):
            report[name]
        if not samples:
            raise CatalogError(f"The report {path} names no samples. {_ADVICE}")
    listed = ", ".join(map(literal, samples))
    present = catalog.sql(f"SELECT count(*) FROM models WHERE run_id IN ({listed})")
    return report if present.fetchall() == [(len(samples),)] else None


def as_report(path: str | Path) -> AbstractContextManager[None]:
    """Turn errors from unexpected content of a report into one error; see `as_written`."""
    return as_written(path, "a report", _ADVICE)


def points_of(assessments: Sequence[Assessment]) -> list[dict[str, Any]]:
    """Return the novelty and accuracy of each sample as JSON values, for the plot.

    All other points of the plot are in the summaries.
    """
    return [
        {
            judged.label: {
                "novelty": judged.novelty.tolist(),
                "accuracy": judged.accuracy.tolist(),
            }
            for judged in assessment.samples
        }
        for assessment in assessments
    ]


def redraw(report: Mapping[str, Any], path: str | Path) -> None:
    """Draw the plot of a report without judging again."""
    drawn: Any = [
        SimpleNamespace(
            calibration=assessment["calibration"],
            chance=assessment["chance"],
            samples=[
                SimpleNamespace(
                    label=label,
                    novelty=np.array(values["novelty"]),
                    accuracy=np.array(values["accuracy"]),
                )
                for label, values in points.items()
            ],
            heldout=_single_point(assessment["heldout"]),
            nulls=[_single_point(null) for null in assessment["nulls"]],
            frontier=SimpleNamespace(
                points=[
                    (p["novelty"], p["accuracy"], p["null"]) for p in assessment["frontier"]
                ]
            ),
        )
        for assessment, points in zip(report["assessments"], report["points"], strict=True)
    ]
    save_plot(drawn, path)


def _single_point(summary: Mapping[str, Any]) -> SimpleNamespace:
    """Return a set of networks that the plot shows as one point."""
    return SimpleNamespace(
        label=summary["label"],
        bar=summary["accuracy"]["bar"],
        novelty=np.array([summary["novelty"]["median"]]),
        accuracy=np.array([summary["accuracy"]["mean"]]),
    )


def _finite_json(value: Any) -> Any:
    """Replace floats that are not finite by None, as JSON has no NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_json(part) for part in value]
    return value
