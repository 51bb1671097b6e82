"""Fitting of a generator to networks of a catalogue; its samples are judged and stored."""

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
"""Folder of a catalogue that holds fitted generators, reports and plots."""


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
    """Fit a generator, sample, judge beside all nulls, and store the samples as runs.

    The generator is fitted to the networks of split "train" (`split_by_run`), those of
    "validation" are used for early stopping, and those of "test" for the judgement. The
    fitted generator is a file; samples are runs of the zoo with ``_generated`` appended to
    its name, and the results for each sample are columns ``generated_...`` of `models`.

    Parameters
    ----------
    catalog : Catalog
    name : str
        Name of a generator, see `generators.registry.generators_known`.
    where : str
        Condition on `models` that selects networks.
    steps : {"last", "all"}
        Whether the last or all of the selected checkpoints of each run are used.
    n : int
        Number of samples.
    conditions : sequence of str
        Texts ``COLUMN=VALUE`` or ``COLUMN=VALUE,VALUE``; see
        `generators.generating.conditions.conditions_of`. Beside the samples, retrieval is
        judged: the training networks that fulfil the conditions best.
    calibrations : sequence of str
        Names of `generators.calibration`, with which networks are judged in addition. The
        stored runs hold samples without calibration.
    settings : mapping or iterable of str
        Values by name, or texts ``NAME=VALUE``, see `generators.registry.generator_named`.
    seed : int
        Seed of samples and nulls. Each condition has its own seed that is derived from it,
        see `generators.generating.sampling.seed_of`, and stored in the configuration of its
        samples.
    null_count : int
        Number of samples of each null.
    images : int, optional
        Maximum number of test images that the judge uses, drawn once for all networks.
        Default: all. The stored values of samples, including ``test_accuracy``, are
        measured on all images.
    guidance, temperature, restarts, best_of, extrapolate
        Options of generators that take them, see `generators.generating.sampling.Sampling`.
        If ``best_of`` is above 1, candidates are selected by their accuracy on the
        validation samples of the task, and so are those of nulls and retrieval.
    to : str or Path, optional
        File of the generator; default in the folder ``generators`` of the catalogue. An
        existing file is used if it holds the same fit.
    plot : str or Path, optional
        File of the plot; default beside the report, if matplotlib is installed.
    data : str or Path, optional
        Folder that holds the data of the task as files.
    device : str
        Device on which networks are evaluated.
    again : bool
        Whether to sample and judge again even if a report exists.
    announce : callable
        Called with a line of text before each longer step.

    Returns
    -------
    dict
        JSON values: ``assessments``, ``control``, ``file``, ``report``, ``plot``,
        ``columns``, and ``known``, whether a report existed already. ``file`` is None if
        the generator of known samples no longer exists.

    Raises
    ------
    CatalogError
        If the request is invalid; raised before any weights are read.
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
    default_path = folder / f"{request.file}.safetensors"
    path = default_path if to is None else Path(to)
    for written in (default_path, report):
        check_inside(catalog.root, written)
    for line in request.warnings:
        announce(line)
    is_fitted(path, request)  # raises for another fit before anything is read
    if not again and (known_report := read_report(catalog, report)) is not None:
        with as_report(report):
            stored_paths = (
                [] if known_report["file"] is None else [Path(known_report["file"])]
            )
            paths = (
                [path, default_path, *stored_paths]
                if to is not None
                else [default_path, *stored_paths]
            )
            fitted = fitted_path(request, paths)
            if fitted is None:
                announce(
                    f"The generator no longer exists: {path}. Give --again to fit it again."
                )
            elif to is not None and fitted != path:
                folder_of(path, instead=INSTEAD)
                copy_fitted(fitted, path)
                fitted = path
            known_report["file"] = None if fitted is None else str(fitted)
            plot_path = _plot_of_known(known_report, report, plot)
            return {**known_report, "report": str(report), "plot": plot_path, "known": True}
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
    assessed = assess_samples(request, generator, samples, sides, exam, score)
    full_exam = replace(exam, test_samples=None)
    answers = {split: full_exam.answers(samples.weights, split) for split in SPLITS}
    columns = store(
        catalog,
        samples,
        full_exam,
        answers,
        [assessment.samples[0] for assessment in assessed.assessments],
        generator=generator,
        about=_sample_provenance(request, path),
        provenance=request.provenance,
    )
    if plot is None and find_spec("matplotlib") is not None:
        plot = folder / f"{request.report}.svg"
    if plot is not None:
        save_plot(assessed.assessments, plot)
    result = {
        "generator": request.generator.name,
        "networks": {side: len(keys) for side, keys in request.keys.items()},
        "left_out": request.left_out_besides(set(samples["run_id"])),
        "zoo": samples.table["zoo"][0].as_py()
        if "zoo" in samples.table.column_names
        else "",
        "samples": samples["run_id"].tolist(),
        "table": [row for assessment in assessed.assessments for row in assessment.rows()],
        "assessments": [assessment.to_json() for assessment in assessed.assessments],
        "points": points_of(assessed.assessments),
        "control": []
        if assessed.retrieval is None
        else controls(request, full_exam, answers, assessed.retrieval),
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


def _sample_provenance(request: Request, path: Path) -> list[dict[str, Any]]:
    """Return the provenance that goes into the configuration of each sample."""
    shared = {
        "generator": request.generator.name,
        "generator_settings": request.fit_provenance["settings"],
        "generator_file": path.name,
        "fit": request.fit_id,
    }
    if request.sampling.best_of > 1:
        shared["chosen_by"] = "validation_accuracy"
    groups = zip(request.conditions, request.counts, request.seeds, strict=True)
    return [
        {**shared, "condition": dict(condition), "seed": seed}
        for condition, count, seed in groups
        for _ in range(count)
    ]


def _plot_of_known(
    known: Mapping[str, Any], report: Path, plot: str | Path | None
) -> str | None:
    """Return the plot of a known report; draw it if requested or possible."""
    if plot is None and known["plot"] and Path(known["plot"]).exists():
        return str(known["plot"])
    if plot is None and find_spec("matplotlib") is not None:
        plot = report.with_suffix(".svg")
    if plot is None:
        return None
    redraw(known, plot)
    return str(plot)
