"""Reports of the judge in a catalogue: found again, and drawn again."""

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

_ADVICE = "Delete it, or give --again to judge anew."
FORMAT = 2
"""Of reports; others are not read."""


def save_report(path: Path, result: Mapping[str, Any]) -> None:
    """Put it there."""
    text = json.dumps(_finite({"format": FORMAT, **result}), indent=1)
    with whole_file(path) as file:
        file.write(text.encode())


def read_report(catalog: Catalog, path: Path) -> dict[str, Any] | None:
    """A report whose samples are still in the catalogue; None if there is none.

    Raises
    ------
    CatalogError
        If the file is damaged.
    """
    if not path.exists():
        return None
    with as_report(path):
        found: dict[str, Any] = json.loads(path.read_text())
        if found.pop("format", None) != FORMAT:  # an older version wrote it
            return None
        samples = [str(run) for run in found["samples"]]
        for name in ("assessments", "points", "table", "control", "file", "plot"):
            found[name]
        if not samples:
            raise CatalogError(f"The report {path} names no samples. {_ADVICE}")
    listed = ", ".join(map(literal, samples))
    have = catalog.sql(f"SELECT count(*) FROM models WHERE run_id IN ({listed})")
    return found if have.fetchall() == [(len(samples),)] else None


def as_report(path: str | Path) -> AbstractContextManager[None]:
    """Tell what of a report is odd, whatever that leads to; see `as_written`."""
    return as_written(path, "a report", _ADVICE)


def points_of(assessments: Sequence[Assessment]) -> list[dict[str, Any]]:
    """What a plot shows of each sample, as JSON values; all else is in the summaries."""
    return [
        {
            judged.label: {
                "novelty": judged.novelty.tolist(),
                "accuracy": judged.accuracy.tolist(),
            }
            for judged in own.samples
        }
        for own in assessments
    ]


def redraw(report: Mapping[str, Any], path: str | Path) -> None:
    """Draw the plot of a report again, without judging anything."""
    drawn: Any = [
        SimpleNamespace(
            calibration=own["calibration"],
            chance=own["chance"],
            samples=[
                SimpleNamespace(
                    label=label,
                    novelty=np.array(values["novelty"]),
                    accuracy=np.array(values["accuracy"]),
                )
                for label, values in points.items()
            ],
            heldout=_middle(own["heldout"]),
            nulls=[_middle(null) for null in own["nulls"]],
            frontier=SimpleNamespace(
                points=[(p["novelty"], p["accuracy"], p["null"]) for p in own["frontier"]]
            ),
        )
        for own, points in zip(report["assessments"], report["points"], strict=True)
    ]
    save_plot(drawn, path)


def _middle(summary: Mapping[str, Any]) -> SimpleNamespace:
    """A set of which a plot shows one point."""
    return SimpleNamespace(
        label=summary["label"],
        bar=summary["accuracy"]["bar"],
        novelty=np.array([summary["novelty"]["median"]]),
        accuracy=np.array([summary["accuracy"]["mean"]]),
    )


def _finite(value: Any) -> Any:
    """JSON has no NaN: None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(own) for own in value]
    return value
