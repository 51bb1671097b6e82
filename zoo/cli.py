"""Commands that train and measure: recipes, train, measure, downstream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from catalog.console.options import options_of
from catalog.console.outlet import note, say
from catalog.console.program import (
    Function,
    catalog_option,
    json_option,
    print_json,
    print_table,
    settings_option,
    verb,
)
from zoo.measuring.request import DownstreamRequest, MeasureRequest
from zoo.training.request import TrainRequest

if TYPE_CHECKING:
    from zoo.metric import Metric


@verb("recipes")
@click.argument("name", required=False)
@json_option
def recipes(name: str | None, as_json: bool) -> None:
    """List the recipes, or show one.

    The list has networks, checkpoints, parameters, megabytes of weights, and cost; the page
    of the recipe NAME also has its grid.
    """
    from zoo.recipes import RECIPES

    selected = [RECIPES[name]] if name else list(RECIPES.usable(note).values())
    rows = []
    for recipe in selected:
        sizes = [
            sum(param.size for param in layout if param.role == "parameter")
            for layout in recipe.layouts()
        ]
        row = {
            "recipe": recipe.name,
            "networks": recipe.networks,
            "checkpoints": recipe.networks * len(recipe.checkpoints),
            "parameters": f"{min(sizes):,}-{max(sizes):,}" if len(sizes) > 1 else sizes[0],
            "MB": round(recipe.bytes / 1e6, 1),
            "cost": recipe.cost,
            "data": recipe.data_task.title,
            "summary": recipe.summary,
        }
        if name or as_json:
            row["load"] = f"{recipe.load.name}: {list(recipe.load.values)}"
            values = list(recipe.temperature.values)
            row["temperature"] = f"{recipe.temperature.name}: {values}"
            for draw in recipe.draws:
                amount = "" if draw.count is None else f"{draw.count} of "
                row[f"drawn {draw.name}"] = f"{amount}{list(draw.values)}"
            if recipe.init_from:
                row["for each of"] = recipe.init_from
            row["paper"] = recipe.paper
        rows.append(row)
    if as_json:
        print_json(rows)
    elif name:
        for key, value in rows[0].items():
            say(f"{key:12} {value}")
    else:
        print_table(rows)


_text_option = click.option(
    "--text",
    metavar="FILE",
    help="Text file with the data, for recipes and tasks on text; each byte is a token.",
)


def _fields(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as fields of a request: the text, if given, is the data."""
    text = options.pop("text")
    if text is not None and options["data"] is not None:
        raise click.UsageError("Give either --data DIR or --text FILE, not both.")
    return options if text is None else {**options, "data": text}


@verb("train digits_mlp_phases --limit 24")
@click.argument("recipe")
@options_of(TrainRequest)
@_text_option
@catalog_option
@json_option
def train(recipe: str, catalog_path: str, as_json: bool, **options: Any) -> None:
    """Train the runs of a recipe, and store them.

    'phasezoo recipes' lists the recipes. Runs that the catalogue already has are not
    trained again, so an interrupted command can be repeated.
    """
    from zoo.training.train import train_requested

    request = TrainRequest(recipe, catalog_path, **_fields(options))
    summary = train_requested(request, announce=note)
    if as_json:
        print_json(asdict(summary))
    elif summary.trained:
        say(
            f"{summary.zoo}: {summary.trained} runs trained ({summary.diverged} "
            f"diverged), {summary.checkpoints} checkpoints committed, "
            f"{summary.known} runs were already in the catalogue"
        )
    else:
        say(f"{summary.zoo}: all {summary.planned} runs are already in the catalogue")
    sys.exit(0)


def _measuring_options(
    record: type[MeasureRequest], metavar: str, setting: str
) -> Callable[[Function], Function]:
    """Return a decorator that adds what `measure` and `downstream` share."""

    def decorator(function: Function) -> Function:
        for option in (
            json_option,
            catalog_option,
            _text_option,
            options_of(record),
            settings_option(
                f"{metavar}.FIELD=VALUE",
                f"Setting of a {metavar}, such as {setting}; may be repeated.",
            ),
            click.option(
                "--list",
                "listing",
                is_flag=True,
                help=f"List the {metavar.lower()}s and their columns, then exit.",
            ),
            click.argument("zoo", metavar="ZOO", required=False),
        ):
            function = option(function)
        return function

    return decorator


@verb("measure digits_mlp_phases --steps last")
@click.option(
    "--metric",
    "names",
    multiple=True,
    metavar="METRIC",
    help="Metric to measure; may be repeated. Default: cka, gradient_noise, hessian, "
    "mode_connectivity, scores and weight_distance.",
)
@_measuring_options(MeasureRequest, "METRIC", "hessian.samples=2000")
def measure(names: tuple[str, ...], listing: bool, **options: Any) -> None:
    """Measure the loss landscape around the checkpoints of ZOO.

    The metrics are Hessian, mode connectivity, CKA, weight distance, gradient noise and
    scores; the results become columns of models. Checkpoints that were already measured
    with the same settings are not measured again.
    """
    from zoo.metrics import METRICS, metrics

    if listing:
        _list_columns(METRICS.usable(note).values(), options["as_json"])
    else:
        _measure(MeasureRequest, names or metrics("landscape"), "--metric", **options)


@verb("downstream digits_mlp_phases --only average")
@click.option(
    "--only",
    metavar="PART,...",
    help="Parts to run, separated by commas; the beginning of a name selects all parts "
    "that begin with it, such as average. Default: all parts.",
)
@_measuring_options(DownstreamRequest, "PART", "noise.samples=2000")
def downstream(only: str | None, listing: bool, **options: Any) -> None:
    """Evaluate averages, ensembles, pruning and more of ZOO.

    A cell's seeds and a run's last checkpoints are averaged (as they are, with units
    aligned, with repaired statistics, as greedy soups). The other parts are ensembles,
    barriers, magnitude pruning, input noise, and transfer by fine-tuning. The results
    become columns of models; new networks become runs of ZOO_averages and ZOO_transfer.
    """
    from zoo.measuring.downstream import suite_parts
    from zoo.metrics import METRICS

    parts = suite_parts([part.strip() for part in only.split(",")] if only else ())
    if listing:
        _list_columns([METRICS[part] for part in parts], options["as_json"])
    else:
        _measure(DownstreamRequest, parts, "--only", **options)


def _measure(
    record: type[MeasureRequest],
    chosen: Iterable[str],
    option: str,
    *,
    zoo: str | None,
    catalog_path: str,
    settings: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Measure the chosen metrics and print a summary; ``option`` is what chose them."""
    from zoo.measuring.measure import measure_requested
    from zoo.metrics.settings import with_settings

    if zoo is None:
        raise click.UsageError("Name the zoo to measure, or give --list.")
    metrics = tuple(with_settings(tuple(chosen), settings, option))
    request = record(catalog_path, zoo, metrics, **_fields(options))
    measured = measure_requested(request, announce=note)
    if as_json:
        print_json(asdict(measured))
        return
    for metric, count in (measured.measured or {}).items():
        known_count = (measured.known or {})[metric]
        say(
            f"{measured.zoo}: {metric} of {count} checkpoints measured, {known_count} were "
            "measured before"
        )


def _list_columns(metrics: Iterable[Metric], as_json: bool) -> None:
    rows = [
        {
            "metric": metric.name,
            "column": column.name,
            "unit": column.unit,
            "meaning": column.meaning,
        }
        for metric in metrics
        for column in metric.columns
    ]
    print_json(rows) if as_json else print_table(rows)
