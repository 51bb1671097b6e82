"""Fitting a generator to what a catalogue holds; its samples judged and written back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from catalog import Population
from catalog.catalog import Catalog
from catalog.dtypes import Array
from catalog.plugins.settings import Settings
from catalog.storage.inside_folder import check_inside, folder_inside
from catalog.storage.splits import SPLITS
from catalog.storage.whole_file import folder_of
from generators.exam import Exam
from generators.file import INSTEAD
from generators.generating.assess import assess_samples, controls
from generators.generating.fitted_file import (
    copy_fitted,
    fitted_path,
    is_fitted,
    load_or_fit,
)
from generators.generating.plan import Request
from generators.generating.report import (
    as_report,
    points_of,
    read_report,
    redraw,
    save_report,
)
from generators.generating.sampling import Sampling, samples_of
from generators.generating.store import store
from generators.judging.plot import check_plot, save_plot
from generators.judging.yardstick import calibration_named

FOLDER = "generators"
"""Of a catalogue: fitted generators, and what is known about their samples."""


def generate(
    catalog: Catalog,
    name: str,
    *,
    where: str = "true",
    steps: str = "last",
    n: int = 100,
    conditions: Sequence[str] = (),
    calibrations: Sequence[str] = (),
    settings: Settings = (),
    seed: int = 0,
    null_count: int = 200,
    images: int | None = None,
    guidance: float | None = None,
    temperature: float | None = None,
    restarts: int | None = None,
    best_of: int = 1,
    extrapolate: bool = False,
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
        Each ``COLUMN=VALUE`` or ``COLUMN=VALUE,VALUE``; see
        `generators.generating.conditions.conditions_of`. Beside the samples, retrieval is
        judged: the training networks that fulfil it best.
    calibrations : sequence of str
        Names of `generators.calibration`: reported beside what is not calibrated. Runs hold
        samples as they are.
    settings : mapping or iterable of str
        Values by name, or texts ``NAME=VALUE``, see `generators.registry.generator_named`.
    seed : int
        Of samples and nulls. Each condition has a seed of its own that follows from it, see
        `generators.generating.sampling.seed_of`, and is in the configuration of its
        samples.
    null_count : int
        Samples of each null.
    images : int, optional
        Test images that the judge asks at most, drawn once for all networks. Default: all.
        What is written of samples, ``test_accuracy`` among it, is measured on all.
    guidance, temperature, restarts, best_of, extrapolate
        See `generators.generating.sampling.Sampling`; of generators that take them. The
        best of several has the best accuracy on the validation samples of the task, and so
        have nulls and retrieval then.
    to : str or Path, optional
        File of the generator; default in the folder ``generators`` of the catalogue. One
        that is there is used if it is the same fit.
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
        ``columns``, and ``known``, whether it was done before. ``file`` is None where the
        generator of samples that are known is not there any more.

    Raises
    ------
    CatalogError
        If something is asked that cannot be done: before any weights are read.
    """
    request = Request.of(
        catalog, name, where=where, steps=steps, n=n, conditions=conditions,
        calibrations=calibrations, settings=settings, seed=seed, null_count=null_count,
        images=images,
        sampling=Sampling(guidance, temperature, restarts, best_of, extrapolate),
    )  # fmt: skip
    if plot is not None:
        check_plot(plot)
    folder = catalog.root / FOLDER
    report = folder / f"{request.report}.json"
    own = folder / f"{request.file}.safetensors"
    path = own if to is None else Path(to)
    for inside in (own, report):
        check_inside(catalog.root, inside)
    for line in request.warnings:
        announce(line)
    is_fitted(path, request)  # refuses another one before anything is read
    if not again and (known := read_report(catalog, report)) is not None:
        with as_report(report):
            kept = [] if known["file"] is None else [Path(known["file"])]
            places = [path, own, *kept] if to is not None else [own, *kept]
            place = fitted_path(request, places)
            if place is None:
                announce(
                    f"The generator is not there any more: {path}. --again fits it anew."
                )
            elif to is not None and place != path:
                folder_of(path, instead=INSTEAD)
                copy_fitted(place, path)
                place = path
            known["file"] = None if place is None else str(place)
            drawn = _drawn_again(known, report, plot)
            return {**known, "report": str(report), "plot": drawn, "known": True}
    for line in request.notes:
        announce(line)
    sides = {side: catalog.select(keys).population() for side, keys in request.keys.items()}
    exam = Exam.of(
        Population.concat([sides["train"], sides["test"]]),
        folder=None if data is None else Path(data),
        device=device,
        test_samples=request.images,
    )
    for calibration in request.calibrations:
        calibration_named(calibration, exam)
    folder_inside(catalog.root, FOLDER)
    if to is not None:
        folder_of(path, instead=INSTEAD)
    generator = load_or_fit(request, path, sides, announce)

    def score(population: Population) -> Array:
        return exam.answers(population.weights, "validation").accuracy

    samples = samples_of(
        generator, request.conditions, request.counts, request.seed, request.sampling, score
    )
    found = assess_samples(request, generator, samples, sides, exam, score)
    full = replace(exam, test_samples=None)
    answers = {split: full.answers(samples.weights, split) for split in SPLITS}
    columns = store(
        catalog,
        samples,
        full,
        answers,
        [one.samples[0] for one in found.assessments],
        generator=generator,
        about=_about(request, path),
        provenance=request.provenance,
    )
    if plot is None and find_spec("matplotlib") is not None:
        plot = folder / f"{request.report}.svg"
    if plot is not None:
        save_plot(found.assessments, plot)
    result = {
        "generator": request.generator.name,
        "networks": {side: len(keys) for side, keys in request.keys.items()},
        "left_out": request.left_out_besides(set(samples["run_id"])),
        "zoo": samples.table["zoo"][0].as_py()
        if "zoo" in samples.table.column_names
        else "",
        "samples": samples["run_id"].tolist(),
        "table": [row for one in found.assessments for row in one.rows()],
        "assessments": [one.to_json() for one in found.assessments],
        "points": points_of(found.assessments),
        "control": []
        if found.retrieval is None
        else controls(request, full, answers, found.retrieval),
        "best_of": request.sampling.best_of,
        "notes": generator.notes,
        "columns": columns,
        "file": str(path),
        "report": str(report),
        "plot": None if plot is None else str(plot),
        "provenance": request.provenance,
    }
    save_report(report, result)
    return {**result, "known": False}


def _about(request: Request, path: Path) -> list[dict[str, Any]]:
    """What the configuration of each sample says of where it is from."""
    shared = {
        "generator": request.generator.name,
        "generator_settings": request.fit_provenance["settings"],
        "generator_file": path.name,
        "fit": request.fit_id,
    }
    if request.sampling.best_of > 1:
        shared["chosen_by"] = "validation_accuracy"
    parts = zip(request.conditions, request.counts, request.seeds, strict=True)
    return [
        {**shared, "condition": dict(condition), "seed": seed}
        for condition, count, seed in parts
        for _ in range(count)
    ]


def _drawn_again(
    known: Mapping[str, Any], report: Path, plot: str | Path | None
) -> str | None:
    """The plot of what is known, where it is asked for or was."""
    if plot is None and known["plot"] and Path(known["plot"]).exists():
        return str(known["plot"])
    if plot is None and find_spec("matplotlib") is not None:
        plot = report.with_suffix(".svg")
    if plot is None:
        return None
    redraw(known, plot)
    return str(plot)
