"""Fitting a generator to what a catalogue holds; its samples judged and written back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from catalog import CatalogError, Population
from catalog.catalog import Catalog
from catalog.dtypes import Array
from generators.generator import Generator
from generators.judging.assessment import assess
from generators.judging.control import control
from generators.judging.exam import Answers, Exam
from generators.judging.plot import check_plot, save_plot
from generators.judging.reference import Reference
from generators.judging.yardstick import calibration_named
from generators.nulls.retrieval import Retrieval
from generators.nulls.train import Train
from generators.registry import open_generator
from generators.request import Request
from generators.saving import settings
from generators.storing import store

FOLDER = "generators"
"""Of a catalogue: fitted generators, and what is known about their samples."""
_SPLITS = ("train", "validation", "test")


def generate(
    catalog: Catalog,
    name: str,
    *,
    where: str = "true",
    steps: str = "last",
    n: int = 100,
    conditions: Sequence[str] = (),
    calibrations: Sequence[str] = (),
    set_: Sequence[str] = (),
    seed: int = 0,
    null_count: int = 200,
    to: str | Path | None = None,
    plot: str | Path | None = None,
    data: str | Path | None = None,
    device: str = "cpu",
    again: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Fit a generator, sample, judge with all nulls, and write the samples back as runs.

    It learns from the networks of split "train" (`split_by_run`), those of "validation"
    tell it when to stop, and it is judged by those of "test". The fitted generator is a
    file; samples are runs of the zoo with ``_generated`` behind its name, and what the
    judge said of each is in columns ``generated_...`` of `models`.

    Parameters
    ----------
    name : str
        Of a generator, see `generators.registry.generators_known`.
    where : str
        A condition on `models`.
    steps : {"last", "all"}
        Of the selected checkpoints of each run.
    n : int
        Samples.
    conditions : sequence of str
        Each ``COLUMN=VALUE`` or ``COLUMN=VALUE,VALUE``; see `conditions_of`.
    calibrations : sequence of str
        Names of `generators.calibration`: reported beside what is not calibrated. Runs hold
        samples as they are.
    set_ : sequence of str
        Each ``NAME=VALUE``, see `generators.registry.generator_named`.
    seed : int
        Of samples and nulls.
    null_count : int
        Samples of each null.
    to : str or Path, optional
        File of the generator; default in the folder ``generators`` of the catalogue. One
        that is there is used if it was fitted to the same.
    plot : str or Path, optional
        Default beside the generator, if matplotlib is there.
    data : str or Path, optional
        Folder with the data of the task as files.
    again : bool
        Do also what was done before.
    announce : callable
        Is told what will be done before it is.

    Returns
    -------
    dict
        JSON values: ``assessments``, ``control``, ``file``, ``report``, ``plot``,
        ``columns``, and ``known``, whether it was done before.

    Raises
    ------
    CatalogError
        If something is asked that cannot be done: before any weights are read.
    """
    request = Request.of(
        catalog, name, where=where, steps=steps, n=n, conditions=conditions,
        calibrations=calibrations, set_=set_, seed=seed, null_count=null_count,
    )  # fmt: skip
    if plot is not None:
        check_plot(plot)
    folder = catalog.root / FOLDER
    report = folder / f"{request.report}.json"
    path = Path(to) if to is not None else folder / f"{request.file}.safetensors"
    if not again and (known := _known(catalog, report)) is not None:
        return {**known, "known": True}
    for line in request.notes:
        announce(line)
    sides = {side: catalog.select(keys).population() for side, keys in request.keys.items()}
    exam = Exam.of(
        Population.concat([sides["train"], sides["test"]]),
        folder=None if data is None else Path(data),
        device=device,
    )
    for calibration in request.calibrations:
        calibration_named(calibration, exam)
    folder.mkdir(parents=True, exist_ok=True)
    generator = _fitted(request, path, sides, announce)
    samples = _sampled(request, generator)
    reference, raw = reference_of(generator, sides["train"], sides["test"], exam)
    found = assess(
        reference,
        {request.generator.name: (samples, raw)},
        calibrations=[None, *request.calibrations],
        null_count=request.null_count,
        seed=request.seed,
        label="judged",
    )
    answers = {split: exam.answers(samples.weights, split) for split in _SPLITS}
    columns = store(
        catalog,
        samples,
        exam,
        answers,
        [own.samples[0] for own in found],
        about={"generator_file": path.name},
        provenance=request.provenance,
    )
    if plot is None and find_spec("matplotlib") is not None:
        plot = folder / f"{request.report}.svg"
    if plot is not None:
        save_plot(found, plot)
    result = {
        "generator": request.generator.name,
        "networks": {side: len(keys) for side, keys in request.keys.items()},
        "left_out": dict(request.left_out),
        "zoo": samples.table["zoo"][0].as_py()
        if "zoo" in samples.table.column_names
        else "",
        "samples": samples["run_id"].tolist(),
        "table": [row for own in found for row in own.rows()],
        "assessments": [own.to_json() for own in found],
        "control": _control(request, reference, exam, answers),
        "columns": columns,
        "file": str(path),
        "report": str(report),
        "plot": None if plot is None else str(plot),
        "provenance": request.provenance,
    }
    temporary = report.with_name(f".{report.name}.tmp")
    temporary.write_text(json.dumps(_finite(result), indent=1))
    temporary.replace(report)
    return {**result, "known": False}


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


def _like(training: Population, population: Population) -> Population:
    """The rows of the population that a generator kept."""
    runs = set(training["run_id"])
    return population.select(np.array([run in runs for run in population["run_id"]]))


def _known(catalog: Catalog, report: Path) -> dict[str, Any] | None:
    """What was found before, if the samples are still there."""
    if not report.exists():
        return None
    found: dict[str, Any] = json.loads(report.read_text())
    listed = ", ".join(f"'{run}'" for run in found["samples"])
    have = catalog.sql(f"SELECT count(*) FROM models WHERE run_id IN ({listed})")
    return found if have.fetchall() == [(len(found["samples"]),)] else None


def _fitted(
    request: Request,
    path: Path,
    sides: Mapping[str, Population],
    announce: Callable[[str], None],
) -> Generator:
    """The generator in the file, if it is the same; else fitted, and put there."""
    if path.exists():
        back = open_generator(path)
        mine, theirs = (
            (type(g).name, repr(settings(g))) for g in (request.generator, back)
        )
        runs = set(sides["train"]["run_id"])
        if mine != theirs or not set(back.training_["run_id"]) <= runs:
            raise CatalogError(
                f"{path} holds another generator. Name another file with --to, or "
                "delete it."
            )
        announce(f"Fitted before: {path}")
        return back
    validation = sides["validation"] if len(sides["validation"]) else None
    try:
        fitted = request.generator.fit(sides["train"], validation)
    except ValueError as error:
        if isinstance(error, CatalogError):
            raise
        raise CatalogError(f"{request.generator.name!r} refuses: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    fitted.save(path)
    return fitted


def _sampled(request: Request, generator: Generator) -> Population:
    """Samples of every condition."""
    parts = [
        generator.sample(count, seed=request.seed, condition=condition or None)
        for condition, count in zip(request.conditions, request.counts, strict=True)
    ]
    return parts[0] if len(parts) == 1 else Population.concat(parts)


def _control(
    request: Request, reference: Reference, exam: Exam, answers: Mapping[str, Answers]
) -> list[dict[str, Any]]:
    """Requested against measured, where it can be measured; beside retrieval."""
    found = []
    retrieval = Retrieval().fit_to(reference.population)
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
        got = _sampled(request, retrieval)
        theirs: Array = getattr(exam.answers(got.weights, split), what)
        found.append(
            {
                "column": column,
                **asdict(control(requested, measured, seed=request.seed)),
                "retrieval": asdict(control(requested, theirs, seed=request.seed)),
            }
        )
    return found


def _finite(value: Any) -> Any:
    """JSON has no NaN: None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(own) for own in value]
    return value
