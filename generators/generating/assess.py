"""Assessment of samples beside held-out networks, retrieval and nulls."""

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
from generators.generating.sampling import best_of, retrieved
from generators.generator import Generator
from generators.judging.assessment import Assessment, assess
from generators.judging.control import control
from generators.judging.judged import Judged
from generators.judging.reference import Reference
from generators.nulls.retrieval import Retrieval
from generators.nulls.suite import fitted_nulls
from generators.nulls.train import Train
from generators.samples import Score

RETRIEVAL = "retrieval"
"""Label of the training networks that fulfil a condition best."""


@dataclass(frozen=True)
class Assessed:
    """Judged samples.

    Attributes
    ----------
    assessments : list of Assessment
        Without calibration first, then one for each calibration.
    retrieval : Population or None
        Training networks that fulfil the condition best; None without a condition.
    """

    assessments: list[Assessment]
    retrieval: Population | None


def reference_of(
    generator: Generator, population: Population, heldout: Population, exam: Exam
) -> tuple[Reference, bool]:
    """Return the reference that samples are compared with, and whether samples are raw.

    The samples of a generator that does not align are also judged in aligned units, because
    nulls are made in both and count with the better of the two.
    """
    raw = generator.canonicaliser_ is None
    base = generator
    if raw and population.layout.symbols:
        base = Train(aligned=True).fit(_same_runs(generator.training_, population))
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

    If samples are the best of several candidates, retrieval and nulls are too, by the same
    score.
    """
    of = request.options.best_of
    reference, raw = reference_of(generator, sides["train"], sides["test"], exam)
    sets = {best_of_label(request.generator.name, of): (samples, raw)}
    retrieval = None
    if request.conditions[0]:
        retrieval = retrieved(
            Retrieval(aligned=False).fit_to(reference.population),
            request.conditions, request.counts, request.options.seed, of, score,
        )  # fmt: skip
        if not isinstance(generator, Retrieval):
            sets[best_of_label(RETRIEVAL, of)] = (retrieval, True)
    calibrations = [None, *request.options.calibrations]
    assessments = assess(
        reference,
        sets,
        calibrations=calibrations,
        null_count=request.options.null_count if of == 1 else 0,
        seed=request.options.seed,
        label="judged",
    )
    if of > 1:
        nulls = _best_of_nulls(request, reference, score)
        assessments = [
            replace(assessment, nulls=nulls[assessment.calibration])
            for assessment in assessments
        ]
    return Assessed(assessments, retrieval)


def best_of_label(label: str, of: int) -> str:
    """Return the label of networks that are the best of several candidates."""
    return label if of == 1 else f"{label}, best of {of}"


def controls(
    request: Request, exam: Exam, answers: Mapping[str, Answers], retrieval: Population
) -> list[dict[str, Any]]:
    """Compare requested with measured values, where these can be measured.

    The same comparison is made for retrieval.
    """
    rows = []
    for column in request.conditions[0]:
        split, _, quantity = column.rpartition("_")
        if split not in answers or quantity not in ("accuracy", "loss"):
            continue
        requested = np.concatenate(
            [
                np.full(count, float(condition[column]))
                for condition, count in zip(request.conditions, request.counts, strict=True)
            ]
        )
        measured: Array = getattr(answers[split], quantity)
        of_retrieval: Array = getattr(exam.answers(retrieval.weights, split), quantity)
        rows.append(
            {
                "column": column,
                **asdict(control(requested, measured, seed=request.options.seed)),
                "retrieval": asdict(
                    control(requested, of_retrieval, seed=request.options.seed)
                ),
            }
        )
    return rows


def _best_of_nulls(
    request: Request, reference: Reference, score: Score
) -> dict[str | None, list[Judged]]:
    """Judge the best of several candidates of every null, by calibration."""
    of, seed = request.options.best_of, request.options.seed
    entries = list(
        fitted_nulls(reference.population, reference.training, reference.canonicaliser)
    )
    judged: dict[str | None, list[Judged]] = {None: []}
    judged |= {calibration: [] for calibration in request.options.calibrations}
    progress = Progress(len(entries), "sets", f"nulls, best of {of}")
    for done, entry in enumerate(entries, 1):
        networks = best_of(entry.null, request.options.null_count, of, score, seed=seed)
        uncalibrated = None
        for calibration, judged_nulls in judged.items():
            null = reference.judge(
                networks, label=best_of_label(entry.label, of), calibration=calibration,
                raw=entry.null.canonicaliser_ is None, before=uncalibrated, seed=seed,
            )  # fmt: skip
            uncalibrated = null if calibration is None else uncalibrated
            judged_nulls.append(null)
        progress.update(done)
    progress.close(len(entries))
    return judged


def _same_runs(training: Population, population: Population) -> Population:
    """Return the rows of a population that are of the training runs."""
    runs = set(training["run_id"])
    return population.select(np.array([run in runs for run in population["run_id"]]))
