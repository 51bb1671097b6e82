"""The verb generate: make networks, and judge them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import click

from catalog.catalog import open_catalog
from catalog.console.outlet import note, say
from catalog.console.program import (
    catalog_option,
    json_option,
    print_json,
    print_table,
    settings_option,
)


@click.command(
    epilog="Example: phasezoo generate pca_gaussian -n 100 --calibrate head",
)
@click.argument("name", required=False)
@click.option("--where", default="true", metavar="SQL", help="A condition on models.")
@click.option(
    "--steps",
    default="last",
    show_default=True,
    type=click.Choice(["last", "all"]),
    help="Which of the selected checkpoints of each run.",
)
@click.option("-n", "n", type=click.IntRange(1), default=100, show_default=True)
@click.option(
    "--condition",
    "conditions",
    multiple=True,
    metavar="COLUMN=VALUE[,VALUE]",
    help="What samples shall be like, e.g. validation_accuracy=0.9,0.95. May be repeated.",
)
@click.option(
    "--extrapolate",
    is_flag=True,
    help="Allow conditions outside of the training networks; marks the samples.",
)
@click.option(
    "--guidance",
    type=click.FloatRange(0),
    help="1: as asked, above: more of the condition.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    help="Factor of the noise; below 1: nearer to the mean, less novel.",
)
@click.option(
    "--restarts",
    type=click.IntRange(0),
    help="Times that samples are made noisy and finished again.",
)
@click.option(
    "--best-of",
    "best_of",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Make so many for each, keep the best by validation accuracy; nulls alike.",
)
@click.option(
    "--calibrate",
    "calibrations",
    multiple=True,
    metavar="NAME",
    help="Judge them also so; --list shows the names. May be repeated.",
)
@settings_option("NAME=VALUE", "A parameter of it, or preset=paper.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--nulls",
    "null_count",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Samples of each null.",
)
@click.option(
    "--images", type=click.IntRange(1), help="Test images that judge, at most; default all."
)
@click.option("--to", metavar="FILE", help="The generator; default in the catalogue.")
@click.option("--plot", metavar="FILE", help="An .svg, .png or .pdf; default beside it.")
@click.option("--data", metavar="DIR", help="Folder with the data as files.")
@click.option(
    "--again",
    is_flag=True,
    help="Judge anew what was generated before; a kept fit is not repeated.",
)
@click.option("--list", "listing", is_flag=True, help="List generators and CALIBRATIONS.")
@catalog_option
@json_option
def generate(
    name: str | None, listing: bool, catalog_path: str, as_json: bool, **options: Any
) -> None:
    """Make networks with the generator NAME, judge them beside nulls, write them back.

    It learns from split train and is judged by split test. The samples are runs of the zoo
    with _generated behind its name; what the judge said of each is in columns generated_...
    of models. No accuracy is printed without novelty.
    """
    if listing:
        rows = _listed()
        print_json(rows) if as_json else print_table(rows)
        return
    if name is None:
        raise click.UsageError("Name a generator, or give --list.")
    from generators.generating.generate import generate as run
    from generators.generating.report import as_report
    from generators.registry import generator_named
    from zoo import keep_freed_memory

    generator_named(name, options["settings"])  # refuses before anything is read
    keep_freed_memory()
    result = run(open_catalog(catalog_path), name, announce=note, **options)
    if result["known"]:
        note("Generated before; --again does it anew.")
    with as_report(result["report"]):
        print_json(result) if as_json else _print(result)


def _listed() -> list[dict[str, Any]]:
    from generators.calibration import CALIBRATIONS
    from generators.methods import METHODS
    from generators.registry import generators_known, presets_of

    rows = [
        {
            "name": name,
            "kind": "method" if name in METHODS else "null",
            "summary": kind.summary,
        }
        for name, kind in generators_known().items()
    ]
    for name, kind in generators_known().items():
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
        for name, kind in CALIBRATIONS.items()
    ]


def _print(result: Mapping[str, Any]) -> None:
    print_table([row for row in result["table"] if row["networks"] in _shown(result)])
    say("Nulls on the frontier, or best at a novelty; the report has all.")
    if result["best_of"] > 1:
        say(
            f"Samples, retrieval and nulls: the best of {result['best_of']} by validation "
            "accuracy. Held-out networks are not chosen."
        )
    for one in result["assessments"]:
        say()
        word = "as they are" if one["calibration"] is None else one["calibration"]
        bar = one["heldout"]["accuracy"]["bar"]
        say(f"Novel and performant, {word}: accuracy of {bar:.4f} or more")
        print_table([_share(own) for own in one["samples"][0]["novel_and_performant"]])
        say(f"As a set, {word}:")
        print_table(_as_a_set(one["samples"][0]))
    for one in result["control"]:
        say()
        say(
            f"{one['column']}: off by {one['error']:.4f} on average, slope "
            f"{_number(one['slope'])}; retrieval: {one['retrieval']['error']:.4f}, slope "
            f"{_number(one['retrieval']['slope'])}"
        )
    for line in result.get("notes", ()):  # reports of before have none
        say()
        say(line)
    say()
    if result["file"]:
        say(f"{result['file']}: the generator")
    say(f"{result['report']}: everything the judge found")
    if result["plot"]:
        say(f"{result['plot']}: accuracy against novelty")
    say(f"{len(result['samples']):,} runs in zoo {result['zoo']}")


def _shown(result: Mapping[str, Any]) -> set[str]:
    """Samples, held-out networks, and the nulls that are hardest to beat."""
    found = set()
    for one in result["assessments"]:
        word = "" if one["calibration"] is None else f" + {one['calibration']}"
        best = {own["label"] for own in (*one["samples"], one["heldout"])}
        best |= {point["null"] for point in one["frontier"]}
        for i in range(len(one["heldout"]["novel_and_performant"])):
            shares = [own["novel_and_performant"][i]["share"] for own in one["nulls"]]
            best.add(one["nulls"][shares.index(max(shares))]["label"])
        found |= {f"{label}{word}" for label in best}
    return found


def _share(own: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "novelty >=": own["spread"],
        "share": own["share"],
        "95 %": f"{own['low']:.3f} to {own['high']:.3f}",
    }


def _as_a_set(own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What samples are like together, by space."""
    return [
        {
            "in": name,
            "samples told from held-out (.5: not)": test["sampled"],
            "held-out from samples": test["heldout"],
            "spread over training": own["dispersion"][name],
        }
        for name, test in own["two_sample"].items()
    ]


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"
