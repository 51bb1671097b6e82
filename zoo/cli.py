"""Verbs that train: recipes and train."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from catalog.console import catalog_option, json_option, print_json, print_table


@click.command(epilog="Example: phasezoo recipes")
@click.argument("name", required=False)
@json_option
def recipes(name: str | None, as_json: bool) -> None:
    """List recipes with networks, bytes and measured cost; or all of recipe NAME."""
    from zoo.recipe import recipe_named
    from zoo.recipe import recipes as known

    chosen = [recipe_named(name)] if name else list(known().values())
    rows = []
    for recipe in chosen:
        sizes = [layout.d for layout in recipe.layouts()]
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
            row["paper"] = recipe.paper
        rows.append(row)
    if as_json:
        print_json(rows)
    elif name:
        for key, value in rows[0].items():
            click.echo(f"{key:12} {value}")
    else:
        print_table(rows)


@click.command(epilog="Example: phasezoo train digits_mlp_phases --limit 24")
@click.argument("recipe")
@click.option(
    "--limit", type=click.IntRange(1), help="Train only so many runs, spread over the grid."
)
@click.option("--data", metavar="DIR", help="Folder with the data as files.")
@click.option("--workers", type=click.IntRange(1), help="Processes; default one per core.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--memory", metavar="SIZE", help="For all workers; default half of it.")
@catalog_option
@json_option
def train(
    recipe: str,
    limit: int | None,
    data: str | None,
    workers: int | None,
    device: str,
    memory: str | None,
    catalog_path: str,
    as_json: bool,
) -> None:
    """Train RECIPE into the catalogue; what is there already is not trained again."""
    from zoo.memory import parse_memory
    from zoo.train import train as run

    summary = run(
        recipe,
        catalog_path,
        data=data,
        limit=limit,
        workers=workers,
        device=device,
        memory=parse_memory(memory) if memory else None,
    )
    if as_json:
        print_json(asdict(summary))
    elif summary.trained:
        click.echo(
            f"{summary.zoo}: {summary.trained} runs trained ({summary.diverged} "
            f"diverged), {summary.checkpoints} checkpoints, {summary.known} were there"
        )
    else:
        click.echo(f"{summary.zoo}: all {summary.planned} runs are there already")
    sys.exit(0)
