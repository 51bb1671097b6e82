"""Samples beside held-out networks and all nulls, under one calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from catalog import Population
from catalog.console.progress import Progress
from generators.judging.frontier import Frontier
from generators.judging.judged import Judged
from generators.judging.reference import Reference
from generators.nulls.suite import fitted_nulls


@dataclass(frozen=True)
class Assessment:
    """What is printed, drawn and kept.

    Attributes
    ----------
    calibration : str or None
    samples : sequence of Judged
        One for each set.
    heldout : Judged
    nulls : sequence of Judged
    chance : float
        Accuracy of guessing.
    between : dict of str to dict
        Distances between training networks by space, see `Space.summary`.
    """

    calibration: str | None
    samples: Sequence[Judged]
    heldout: Judged
    nulls: Sequence[Judged]
    chance: float
    between: Mapping[str, Mapping[str, float]]

    @property
    def frontier(self) -> Frontier:
        """Of the nulls, by mean accuracy and median novelty."""
        points = [(_novelty(j), float(j.accuracy.mean()), j.label) for j in self.nulls]
        return Frontier.of(points, self.chance)

    def above(self, judged: Judged) -> float:
        """By how much networks are above the null frontier, each at its own novelty."""
        return self.frontier.above(judged.novelty, judged.accuracy)

    def rows(self) -> list[dict[str, Any]]:
        """One row of a table each: samples, held-out networks, nulls."""
        word = "" if self.calibration is None else f" + {self.calibration}"
        return [
            {**judged.row_of(f"{judged.label}{word}"), "above": self.above(judged)}
            for judged in (*self.samples, self.heldout, *self.nulls)
        ]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "calibration": self.calibration,
            "chance": self.chance,
            "between_training_networks": self.between,
            "samples": [
                {**j.summary(), "above_frontier": self.above(j)} for j in self.samples
            ],
            "heldout": self.heldout.summary(),
            "nulls": [j.summary() for j in self.nulls],
            "frontier": [
                {"novelty": n, "accuracy": a, "null": label}
                for n, a, label in self.frontier.points
            ],
        }


def assess(
    reference: Reference,
    samples: Mapping[str, tuple[Population, bool]],
    *,
    calibrations: Sequence[str | None] = (None,),
    null_count: int = 200,
    seed: int = 0,
    label: str | None = None,
) -> list[Assessment]:
    """Judge samples and nulls.

    Parameters
    ----------
    samples : mapping of str to (Population, bool)
        By label; whether each was made of networks as they were, see `Reference.judge`.
    calibrations : sequence of (str or None)
        None: as they are.
    null_count : int, default=200
        Samples of each null; 0: none are judged, and there is no frontier.
    seed : int, default=0
        Of what nulls draw.
    label : str, optional
        Start of the progress line; None: no progress.
    """
    reference.yardstick(None)
    sets = [(name, own, raw) for name, (own, raw) in samples.items()]
    found = {name: list[list[Judged]]([[], []]) for name in calibrations}
    entries = []
    if null_count:
        sides = (reference.population, reference.training, reference.canonicaliser)
        entries = list(fitted_nulls(*sides))
    total = len(sets) + len(entries)
    progress = None if label is None else Progress(total, "sets", label)

    def judged(name: str, own: Population, raw: bool, which: int) -> None:
        before = None
        for calibration in sorted(calibrations, key=lambda c: c is not None):
            one = reference.judge(
                own, label=name, calibration=calibration, raw=raw, before=before, seed=seed
            )
            before = one if calibration is None else before
            found[calibration][which].append(one)

    for done, (name, own, raw) in enumerate(sets, 1):
        judged(name, own, raw, 0)
        if progress:
            progress.update(done)
    for done, entry in enumerate(entries, len(sets) + 1):
        made = entry.null.sample(null_count, seed=seed)
        judged(entry.label, made, entry.null.canonicaliser_ is None, 1)
        if progress:
            progress.update(done)
    if progress:
        progress.close(total)
    return [
        Assessment(
            calibration,
            found[calibration][0],
            reference.judge_heldout(calibration, seed=seed),
            found[calibration][1],
            reference.chance,
            reference.between(calibration),
        )
        for calibration in calibrations
    ]


def _novelty(judged: Judged) -> float:
    return float(np.median(judged.novelty))
