"""Assessment of samples beside held-out networks and all nulls, under one calibration."""

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
    """Judged samples, held-out networks and nulls, to be printed, drawn and stored.

    Attributes
    ----------
    calibration : str or None
        Name of the calibration.
    samples : sequence of Judged
        One for each set of samples.
    heldout : Judged
        Judged held-out networks.
    nulls : sequence of Judged
        Judged nulls.
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
        """Frontier of the nulls, by mean accuracy and median novelty."""
        points = [(_novelty(j), float(j.accuracy.mean()), j.label) for j in self.nulls]
        return Frontier.of(points, self.chance)

    def above(self, judged: Judged) -> float:
        """Return how far networks are above the null frontier, each at its own novelty."""
        return self.frontier.above(judged.novelty, judged.accuracy)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row of a table for each of samples, held-out networks and nulls."""
        suffix = "" if self.calibration is None else f" + {self.calibration}"
        return [
            {**judged.row_of(f"{judged.label}{suffix}"), "above": self.above(judged)}
            for judged in (*self.samples, self.heldout, *self.nulls)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the assessment as JSON values."""
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
    reference : Reference
        Networks with which samples are compared.
    samples : mapping of str to (Population, bool)
        Samples by label, each with whether it was made of networks before alignment, see
        `Reference.judge`.
    calibrations : sequence of (str or None)
        Names of calibrations; None is without calibration.
    null_count : int, default=200
        Number of samples of each null; 0 judges no nulls, and there is no frontier.
    seed : int, default=0
        Seed of the samples of nulls.
    label : str, optional
        Start of the progress line; None: no progress.
    """
    reference.yardstick(None)
    sets = [(name, networks, raw) for name, (networks, raw) in samples.items()]
    judged_sets = {name: list[list[Judged]]([[], []]) for name in calibrations}
    entries = []
    if null_count:
        sides = (reference.population, reference.training, reference.canonicaliser)
        entries = list(fitted_nulls(*sides))
    total = len(sets) + len(entries)
    progress = None if label is None else Progress(total, "sets", label)

    def judge_set(name: str, networks: Population, raw: bool, group: int) -> None:
        uncalibrated = None
        for calibration in sorted(calibrations, key=lambda c: c is not None):
            result = reference.judge(
                networks,
                label=name,
                calibration=calibration,
                raw=raw,
                before=uncalibrated,
                seed=seed,
            )
            uncalibrated = result if calibration is None else uncalibrated
            judged_sets[calibration][group].append(result)

    for done, (name, networks, raw) in enumerate(sets, 1):
        judge_set(name, networks, raw, 0)
        if progress:
            progress.update(done)
    for done, entry in enumerate(entries, len(sets) + 1):
        null_samples = entry.null.sample(null_count, seed=seed)
        judge_set(entry.label, null_samples, entry.null.canonicaliser_ is None, 1)
        if progress:
            progress.update(done)
    if progress:
        progress.close(total)
    return [
        Assessment(
            calibration,
            judged_sets[calibration][0],
            reference.judge_heldout(calibration, seed=seed),
            judged_sets[calibration][1],
            reference.chance,
            reference.between(calibration),
        )
        for calibration in calibrations
    ]


def _novelty(judged: Judged) -> float:
    return float(np.median(judged.novelty))
