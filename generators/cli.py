"""Command line of `generate`: make networks, judge them and store them as runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from catalog.catalog import open_catalog
from catalog.console.options import options_of
from catalog.console.outlet import note, say
from catalog.console.program import (
    catalog_option,
    json_option,
    print_json,
    print_table,
    verb,
)
from generators.generating.options import GenerateOptions

Function = TypeVar("Function", bound=Callable[..., Any])


@verb("generate pca_gaussian -n 100 --calibrate head")
@click.argument("name", required=False)
@options_of(GenerateOptions)
@click.option(
    "--list", "listing", is_flag=True, help="List generators, presets and calibrations."
)
@catalog_option
@json_option
def generate(
    name: str | None, listing: bool, catalog_path: str, as_json: bool, **options: Any
) -> None:
    """Make networks with a generator, and judge and store them.

    A generator learns from the weights of the selected networks of split train, and draws
    samples. They are compared with the networks of split test and with nulls: simple
    generators, such as noise on a training network. --list shows both. Accuracy is shown
    with novelty: 0 is a copy of a training network, 1 as far from all of them as they are
    from each other. The samples are stored as runs of the zoo with _generated appended to
    its name, and the results for each sample become columns generated_... of models.
    """
    if listing:
        rows = _listing_rows()
        print_json(rows) if as_json else print_table(rows)
        return
    if name is None:
        raise click.UsageError("Name a generator, such as pca_gaussian, or give --list.")
    from generators.generating.generate import generate as run
    from generators.generating.report import as_report
    from generators.registry import generator_named
    from zoo import keep_freed_memory

    asked = GenerateOptions(**options)
    generator_named(name, asked.settings)  # raises before anything is read
    keep_freed_memory()
    result = run(open_catalog(catalog_path), name, asked, announce=note)
    if result["known"]:
        note("Generated before; give --again to sample and judge again.")
    with as_report(result["report"]):
        print_json(result) if as_json else _print_result(result)


def _listing_rows() -> list[dict[str, Any]]:
    from generators.calibration import CALIBRATIONS
    from generators.methods import METHODS
    from generators.registry import generators_known, presets_of

    known = generators_known()
    rows = [
        {
            "name": name,
            "kind": "method" if name in METHODS else "null",
            "summary": kind.summary,
        }
        for name, kind in known.items()
    ]
    for name, kind in known.items():
        rows += [
            {
                "name": f"{name} --set preset={preset}",
                "kind": "preset",
                "summary": str(inspect.getdoc(make)).splitlines()[0],
            }
            for preset, make in presets_of(kind).items()
        ]
    return rows + [
        {"name": name, "kind": "calibration", "summary": kind.summary}
        for name, kind in CALIBRATIONS.usable(note).items()
    ]


def _print_result(result: Mapping[str, Any]) -> None:
    print_table(
        [row for row in result["table"] if row["networks"] in _shown_labels(result)]
    )
    say(
        "Shown are the nulls on the frontier and the best at each required novelty; the "
        "report has all nulls."
    )
    if result["best_of"] > 1:
        say(
            f"Samples, retrieval and nulls are each the best of {result['best_of']} "
            "candidates by validation accuracy; held-out networks are not selected."
        )
    for assessment in result["assessments"]:
        say()
        calibration = (
            "uncalibrated"
            if assessment["calibration"] is None
            else assessment["calibration"]
        )
        bar = assessment["heldout"]["accuracy"]["bar"]
        say(f"Novel and performant, {calibration}: accuracy of {bar:.4f} or more")
        print_table(
            [
                _share_row(share)
                for share in assessment["samples"][0]["novel_and_performant"]
            ]
        )
        say(f"As a set, {calibration}:")
        print_table(_set_rows(assessment["samples"][0]))
    for control in result["control"]:
        say()
        say(
            f"{control['column']}: mean absolute error {control['error']:.4f}, slope "
            f"{_decimal(control['slope'])}; retrieval: "
            f"{control['retrieval']['error']:.4f}, slope "
            f"{_decimal(control['retrieval']['slope'])}"
        )
    for line in result.get("notes", ()):  # reports of older versions have none
        say()
        say(line)
    say()
    if result["file"]:
        say(f"{result['file']}: the generator")
    say(f"{result['report']}: the full report")
    if result["plot"]:
        say(f"{result['plot']}: accuracy against novelty")
    say(f"{len(result['samples']):,} runs in zoo {result['zoo']}")


def _shown_labels(result: Mapping[str, Any]) -> set[str]:
    """Return the labels of samples, held-out networks and the strongest nulls."""
    labels = set()
    for assessment in result["assessments"]:
        suffix = (
            "" if assessment["calibration"] is None else f" + {assessment['calibration']}"
        )
        best = {
            judged["label"] for judged in (*assessment["samples"], assessment["heldout"])
        }
        best |= {point["null"] for point in assessment["frontier"]}
        for i in range(len(assessment["heldout"]["novel_and_performant"])):
            shares = [
                judged["novel_and_performant"][i]["share"] for judged in assessment["nulls"]
            ]
            best.add(assessment["nulls"][shares.index(max(shares))]["label"])
        labels |= {f"{label}{suffix}" for label in best}
    return labels


def _share_row(share: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "novelty >=": share["spread"],
        "share": share["share"],
        "95 %": f"{share['low']:.3f} to {share['high']:.3f}",
    }


def _set_rows(judged: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statistics of the samples as a set, one row for each space."""
    return [
        {
            "in": name,
            "samples recognised (.5: chance)": test["sampled"],
            "held-out recognised": test["heldout"],
            "spread / training spread": judged["dispersion"][name],
        }
        for name, test in judged["two_sample"].items()
    ]


def _decimal(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"
