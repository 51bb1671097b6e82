"""Commands that train and measure: recipes, train, measure, downstream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

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

if TYPE_CHECKING:
    from zoo.measuring.measure import Measured
    from zoo.metric import Metric


@verb("recipes")
@click.argument("name", required=False)
@json_option
def recipes(name: str | None, as_json: bool) -> None:
    """List recipes with their networks, bytes and cost, or show the recipe NAME."""
    from zoo.recipes import RECIPES

    selected = [RECIPES[name]] if name else list(RECIPES.values())
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


def _machine_options(function: Function) -> Function:
    """Add the options that locate the data and set the device and the workers."""
    for option in (
        click.option(
            "--device",
            default="auto",
            show_default=True,
            help="Device to compute on: auto, cpu or cuda.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1),
            help="Number of worker processes; default: one per core.",
        ),
        click.option(
            "--text", metavar="FILE", help="Text file to use as data; bytes are tokens."
        ),
        click.option("--data", metavar="DIR", help="Folder that holds the data as files."),
    ):
        function = option(function)
    return function


def _measuring_options(metavar: str, steps: str) -> Callable[[Function], Function]:
    """Return a decorator that adds the options that `measure` and `downstream` share."""

    def decorator(function: Function) -> Function:
        for option in (
            click.option(
                "--again",
                is_flag=True,
                help="Measure again what was already measured with the same settings.",
            ),
            click.option(
                "--seed",
                type=click.IntRange(0),
                default=0,
                show_default=True,
                help="Seed of all random draws.",
            ),
            click.option(
                "--architecture",
                metavar="JSON",
                help="Architecture of imported runs that do not record one.",
            ),
            click.option(
                "--task",
                metavar="NAME",
                help="Task of imported runs that do not record one.",
            ),
            click.option(
                "--where",
                default="true",
                metavar="SQL",
                help="Condition on models that selects checkpoints; default: all.",
            ),
            click.option(
                "--steps",
                default=steps,
                show_default=True,
                type=click.Choice(["all", "last"]),
                help="Checkpoints of each run to measure.",
            ),
            settings_option(
                f"{metavar}.FIELD=VALUE", f"Set a field of a {metavar}; may be repeated."
            ),
        ):
            function = option(function)
        return function

    return decorator


def _data(data: str | None, text: str | None) -> str | None:
    if data is not None and text is not None:
        raise click.UsageError("Give either --data DIR or --text FILE, not both.")
    return data if text is None else text


@verb("train digits_mlp_phases --limit 24")
@click.argument("recipe")
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Maximum number of runs to train, spread over the grid.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    help="Memory for all workers together, such as 4GB; default: half of the machine's.",
)
@_machine_options
@catalog_option
@json_option
def train(
    recipe: str,
    limit: int | None,
    data: str | None,
    text: str | None,
    workers: int | None,
    device: str,
    memory: str | None,
    catalog_path: str,
    as_json: bool,
) -> None:
    """Train the runs of RECIPE and store them in the catalogue.

    Runs that the catalogue already holds are not trained again.
    """
    from zoo.training.memory import parse_memory
    from zoo.training.train import train as run

    summary = run(
        recipe,
        catalog_path,
        data=_data(data, text),
        limit=limit,
        workers=workers,
        device=device,
        memory=parse_memory(memory) if memory else None,
    )
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


@verb("measure digits_mlp_phases --steps last", "measure")
@click.argument("name", metavar="ZOO", required=False)
@click.option(
    "--metric",
    "names",
    multiple=True,
    metavar="METRIC",
    help="Metric to measure; may be repeated; default: all of the landscape suite.",
)
@click.option(
    "--list", "listing", is_flag=True, help="List all metrics and their columns, then exit."
)
@_measuring_options("METRIC", "all")
@_machine_options
@catalog_option
@json_option
def measure(
    name: str | None,
    names: tuple[str, ...],
    listing: bool,
    settings: tuple[str, ...],
    steps: str,
    where: str,
    task: str | None,
    architecture: str | None,
    seed: int,
    again: bool,
    data: str | None,
    text: str | None,
    workers: int | None,
    device: str,
    catalog_path: str,
    as_json: bool,
) -> None:
    """Measure the checkpoints of ZOO: Hessian, mode connectivity, CKA and more.

    The results become columns of models. Checkpoints that were already measured with the
    same settings are not measured again.
    """
    from zoo.measuring.measure import measure as run
    from zoo.metrics import METRICS, metrics
    from zoo.metrics.settings import with_settings

    if listing:
        _list_columns(METRICS, as_json)
        return
    if name is None:
        raise click.UsageError("Name the zoo to measure, or give --list.")
    measured = run(
        catalog_path,
        name,
        with_settings(names or tuple(metrics("landscape")), settings),
        where=where,
        steps=steps,
        data=_data(data, text),
        task=task,
        architecture=architecture,
        seed=seed,
        workers=workers,
        device=device,
        again=again,
        announce=note,
    )
    _print_measured(measured, as_json)


@verb("downstream digits_mlp_phases --only average")
@click.argument("name", metavar="ZOO", required=False)
@click.option(
    "--only",
    metavar="PART,...",
    help="Parts of the suite, or beginnings of their names: 'average' selects "
    "average_seeds and average_steps; default: all parts.",
)
@click.option(
    "--list", "listing", is_flag=True, help="List the parts and their columns, then exit."
)
@_measuring_options("PART", "last")
@_machine_options
@catalog_option
@json_option
def downstream(
    name: str | None,
    only: str | None,
    listing: bool,
    settings: tuple[str, ...],
    steps: str,
    where: str,
    task: str | None,
    architecture: str | None,
    seed: int,
    again: bool,
    data: str | None,
    text: str | None,
    workers: int | None,
    device: str,
    catalog_path: str,
    as_json: bool,
) -> None:
    """Evaluate the networks of ZOO downstream: averages, ensembles, pruning and more.

    The suite covers averages over steps and seeds (raw, aligned, repaired, greedy soups),
    ensembles, barriers, magnitude pruning, input noise, and transfer by fine-tuning. The
    results become columns of models; new networks become runs of ZOO_averages and
    ZOO_transfer.
    """
    from zoo.measuring.downstream import downstream as run
    from zoo.measuring.downstream import suite_parts
    from zoo.metrics import METRICS
    from zoo.metrics.settings import with_settings

    parts = suite_parts([part.strip() for part in only.split(",")] if only else ())
    if listing:
        _list_columns({part: METRICS[part] for part in parts}, as_json)
        return
    if name is None:
        raise click.UsageError("Name the zoo to evaluate, or give --list.")
    measured = run(
        catalog_path,
        name,
        with_settings(parts, settings, "--only"),
        where=where,
        steps=steps,
        data=_data(data, text),
        task=task,
        architecture=architecture,
        seed=seed,
        workers=workers,
        device=device,
        again=again,
        announce=note,
    )
    _print_measured(measured, as_json)


def _list_columns(metrics: Mapping[str, Metric], as_json: bool) -> None:
    rows = [
        {
            "metric": metric.name,
            "column": column.name,
            "unit": column.unit,
            "meaning": column.meaning,
        }
        for metric in metrics.values()
        for column in metric.columns
    ]
    print_json(rows) if as_json else print_table(rows)


def _print_measured(measured: Measured, as_json: bool) -> None:
    if as_json:
        print_json(asdict(measured))
        return
    for metric, count in (measured.measured or {}).items():
        known_count = (measured.known or {})[metric]
        say(
            f"{measured.zoo}: {metric} of {count} checkpoints measured, {known_count} were "
            "measured before"
        )
