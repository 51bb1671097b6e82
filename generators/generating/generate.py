"""Fitting of a generator to networks of a catalogue; its samples are judged and stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from catalog import Population
from catalog.catalog import Catalog
from catalog.dtypes import Array
from catalog.plugins.keywords import takes_fields
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
from generators.generating.options import GenerateOptions
from generators.generating.plan import Request
from generators.generating.report import (
    as_report,
    points_of,
    read_report,
    redraw,
    save_report,
)
from generators.generating.sampling import samples_of
from generators.generating.store import store
from generators.judging.plot import check_plot, save_plot
from generators.judging.yardstick import calibration_named

FOLDER = "generators"
"""Folder of a catalogue that holds fitted generators, reports and plots."""


@takes_fields(GenerateOptions)
def generate(
    catalog: Catalog,
    name: str,
    options: GenerateOptions | None = None,
    *,
    announce: Callable[[str], None] = lambda line: None,
    **given: Any,
) -> dict[str, Any]:
    """Fit a generator, sample, judge beside all nulls, and store the samples as runs.

    The generator is fitted to the networks of split "train" (`split_by_run`), those of
    "validation" are used for early stopping, and those of "test" for the judgement. The
    fitted generator is a file; samples are runs of the zoo with ``_generated`` appended to
    its name, and the results for each sample are columns ``generated_...`` of `models`.

    Parameters
    ----------
    catalog : Catalog
        Catalogue that holds the networks and gets the samples.
    name : str
        Name of a generator, see `generators.registry.generators_known`.
    options : GenerateOptions, optional
        Options; default: those of the command line.
    announce : callable
        Called with a line of text before each longer step.
    **given
        Fields of `GenerateOptions` such as ``n=50``, which replace those of ``options``.

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

    Notes
    -----
    With conditions, see `generators.generating.conditions.conditions_of`, retrieval is
    judged beside the samples: the training networks that fulfil the conditions best. Each
    condition has its own seed, see `generators.generating.sampling.seed_of`, which is
    stored in the configuration of its samples.

    The stored runs hold samples without calibration, and their stored values, including
    ``test_accuracy``, are measured on all test images. If ``best_of`` is above 1,
    candidates are selected by their accuracy on the validation samples of the task, and so
    are those of nulls and retrieval. An existing file ``to`` is used if it holds the same
    fit; the plot is drawn if matplotlib is installed.

    Examples
    --------
    >>> generate(catalog, "soup", where="width = 6", n=50)  # doctest: +SKIP
    """
    catalog.check_writable()
    options = replace(options or GenerateOptions(), **given)
    request = Request.of(catalog, name, options)
    plot = options.plot
    if plot is not None:
        check_plot(plot)
    folder = catalog.root / FOLDER
    report = folder / f"{request.report}.json"
    default_path = folder / f"{request.file}.safetensors"
    path = default_path if options.to is None else Path(options.to)
    for written in (default_path, report):
        check_inside(catalog.root, written)
    for line in request.warnings:
        announce(line)
    is_fitted(path, request)  # raises for another fit before anything is read
    if not options.again and (known_report := read_report(catalog, report)) is not None:
        with as_report(report):
            stored_paths = (
                [] if known_report["file"] is None else [Path(known_report["file"])]
            )
            paths = (
                [path, default_path, *stored_paths]
                if options.to is not None
                else [default_path, *stored_paths]
            )
            fitted = fitted_path(request, paths)
            if fitted is None:
                announce(
                    f"The generator no longer exists: {path}. Give --again to fit it again."
                )
            elif options.to is not None and fitted != path:
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
        folder=None if options.data is None else Path(options.data),
        device=options.device,
        test_samples=options.images,
    )
    for calibration in options.calibrations:
        calibration_named(calibration, exam)
    folder_inside(catalog.root, FOLDER)
    if options.to is not None:
        folder_of(path, instead=INSTEAD)
    generator = load_or_fit(request, path, sides, announce)

    def score(population: Population) -> Array:
        return exam.answers(population.weights, "validation").accuracy

    samples = samples_of(generator, request.conditions, request.counts, options, score)
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
        "best_of": options.best_of,
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
    if request.options.best_of > 1:
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
