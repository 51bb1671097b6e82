"""Samples, what training networks answer, and nulls, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from catalog import Population
from catalog.console.progress import Progress
from catalog.dtypes import Array
from generators.exam import Answers, Exam
from generators.generating.plan import Request
from generators.generating.sampling import Score, best_of, retrieved
from generators.generator import Generator
from generators.judging.assessment import Assessment, assess
from generators.judging.control import control
from generators.judging.judged import Judged
from generators.judging.reference import Reference
from generators.nulls.retrieval import Retrieval
from generators.nulls.suite import fitted_nulls
from generators.nulls.train import Train

RETRIEVAL = "retrieval"
"""Label of the training networks that fulfil a condition best."""


@dataclass(frozen=True)
class Assessed:
    """What was judged.

    Attributes
    ----------
    assessments : list of Assessment
        As they are, then by calibration.
    retrieval : Population or None
        Where a condition is asked for: the training networks that answer it.
    """

    assessments: list[Assessment]
    retrieval: Population | None


def reference_of(
    generator: Generator, population: Population, heldout: Population, exam: Exam
) -> tuple[Reference, bool]:
    """What a generator's samples are compared with, and whether they are raw.

    A generator that does not align is judged in aligned units too, as nulls are made in
    both and count with the better.
    """
    raw = generator.canonicaliser_ is None
    base = generator
    if raw and population.layout.symbols:
        base = Train(aligned=True).fit(_like(generator.training_, population))
    return Reference.of(base, population, heldout, exam), raw


def assess_samples(
    request: Request,
    generator: Generator,
    samples: Population,
    sides: Mapping[str, Population],
    exam: Exam,
    score: Score,
) -> Assessed:
    """Judge samples beside retrieval and all nulls.

    Where samples are the best of several, retrieval and nulls are too, by the same score.
    """
    of = request.sampling.best_of
    reference, raw = reference_of(generator, sides["train"], sides["test"], exam)
    sets = {best_of_label(request.generator.name, of): (samples, raw)}
    answer = None
    if request.conditions[0]:
        answer = retrieved(
            Retrieval(aligned=False).fit_to(reference.population),
            request.conditions, request.counts, request.seed, of, score,
        )  # fmt: skip
        if not isinstance(generator, Retrieval):
            sets[best_of_label(RETRIEVAL, of)] = (answer, True)
    calibrations = [None, *request.calibrations]
    found = assess(
        reference,
        sets,
        calibrations=calibrations,
        null_count=request.null_count if of == 1 else 0,
        seed=request.seed,
        label="judged",
    )
    if of > 1:
        nulls = _chosen_nulls(request, reference, score)
        found = [replace(own, nulls=nulls[own.calibration]) for own in found]
    return Assessed(found, answer)


def best_of_label(label: str, of: int) -> str:
    """Label of networks that are the best of several."""
    return label if of == 1 else f"{label}, best of {of}"


def controls(
    request: Request, exam: Exam, answers: Mapping[str, Answers], retrieval: Population
) -> list[dict[str, Any]]:
    """Requested against measured, where it can be measured; beside retrieval."""
    found = []
    for column in request.conditions[0]:
        split, _, what = column.rpartition("_")
        if split not in answers or what not in ("accuracy", "loss"):
            continue
        requested = np.concatenate(
            [
                np.full(count, float(condition[column]))
                for condition, count in zip(request.conditions, request.counts, strict=True)
            ]
        )
        measured: Array = getattr(answers[split], what)
        theirs: Array = getattr(exam.answers(retrieval.weights, split), what)
        found.append(
            {
                "column": column,
                **asdict(control(requested, measured, seed=request.seed)),
                "retrieval": asdict(control(requested, theirs, seed=request.seed)),
            }
        )
    return found


def _chosen_nulls(
    request: Request, reference: Reference, score: Score
) -> dict[str | None, list[Judged]]:
    """The best of several of every null, by calibration."""
    of, seed = request.sampling.best_of, request.seed
    entries = list(
        fitted_nulls(reference.population, reference.training, reference.canonicaliser)
    )
    found: dict[str | None, list[Judged]] = {None: []}
    found |= {calibration: [] for calibration in request.calibrations}
    progress = Progress(len(entries), "sets", f"nulls, best of {of}")
    for done, entry in enumerate(entries, 1):
        made = best_of(entry.null, request.null_count, of, score, seed=seed)
        before = None
        for calibration, own in found.items():
            one = reference.judge(
                made, label=best_of_label(entry.label, of), calibration=calibration,
                raw=entry.null.canonicaliser_ is None, before=before, seed=seed,
            )  # fmt: skip
            before = one if calibration is None else before
            own.append(one)
        progress.update(done)
    progress.close(len(entries))
    return found


def _like(training: Population, population: Population) -> Population:
    """The rows of the population that a generator kept."""
    runs = set(training["run_id"])
    return population.select(np.array([run in runs for run in population["run_id"]]))
