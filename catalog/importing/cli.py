"""Command ``import``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from catalog.console.outlet import note, say
from catalog.console.pasting import word
from catalog.console.program import catalog_option, json_option, print_json, verb
from catalog.errors import CatalogError

if TYPE_CHECKING:
    from catalog.importing.axes import AxesRule
    from catalog.importing.networks import ImportSummary


@verb("import networks.npz --zoo tandem --license MIT", "import")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--format",
    "format_name",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Format of SOURCE, such as npz_stacked or state_dict; auto detects it, or lists "
    "the formats if it cannot.",
)
@click.option(
    "--zoo",
    metavar="NAME",
    help="Name of the zoo.  [default: name of SOURCE, or hub for models of the Hub]",
)
@click.option(
    "--tensors",
    multiple=True,
    metavar="GLOB",
    help="Import only the tensors whose names match, such as '*.attn.*'; may be repeated. "
    "Of models of the Hub, only their bytes are downloaded.",
)
@click.option(
    "--license",
    "licence",
    metavar="SPDX",
    help="Licence of the networks, such as MIT or CC-BY-4.0.",
)
@click.option(
    "--metadata",
    metavar="CSV",
    type=click.Path(path_type=Path),
    help="CSV table with one row per network, whose columns become columns of models.  "
    "[default: a CSV file beside SOURCE]",
)
@click.option(
    "--run",
    metavar="REGEX",
    help="Regular expression whose groups run and step match these parts of the name of "
    "each network, e.g. '(?P<run>.*)/e(?P<step>[0-9]+)[.]pt'.",
)
@click.option(
    "--percent",
    multiple=True,
    metavar="COL",
    help="Column in percent, to be divided by 100 because the catalogue stores fractions; "
    "may be repeated.",
)
@click.option(
    "--rename",
    multiple=True,
    metavar="OLD=NEW",
    help="Rename a column, such as acc=test_accuracy; may be repeated.",
)
@click.option(
    "--load",
    metavar="COL",
    help="Column that is the load axis of the grid, such as width; with --temperature.",
)
@click.option(
    "--temperature",
    metavar="COL",
    help="Column that is the temperature axis of the grid, such as batch_size; with "
    "--load.",
)
@click.option("--one-layout", is_flag=True, help="Refuse networks with different layouts.")
@click.option(
    "--allow-nonfinite",
    is_flag=True,
    help="Also import networks with NaN or infinite weights; their column finite is false.",
)
@click.option(
    "--axes",
    type=click.Choice(["certain", "chain", "none"]),
    default="certain",
    show_default=True,
    help="How to find the tensor axes that belong to the same hidden units and are "
    "permuted together. certain: only if names and shapes prove a plain chain of layers. "
    "chain: trust that the layers are a chain in the order of their names; weights alone "
    "cannot show that they are not. none: not at all; such networks cannot be aligned.",
)
@catalog_option
@json_option
def import_(
    sources: tuple[str, ...],
    format_name: str,
    zoo: str | None,
    tensors: tuple[str, ...],
    licence: str | None,
    metadata: Path | None,
    run: str | None,
    percent: tuple[str, ...],
    rename: tuple[str, ...],
    load: str | None,
    temperature: str | None,
    one_layout: bool,
    allow_nonfinite: bool,
    axes: AxesRule,
    catalog_path: str,
    as_json: bool,
) -> None:
    """Import the networks of a file or folder, or models of the Hugging Face Hub.

    SOURCE is a file or folder in a format of networks, such as .npz, .safetensors or .pt.
    All of its networks are imported or, after an error, none. Networks that the catalogue
    already has are skipped, so the command may be repeated.

    Or SOURCE is hf://USER/MODEL[@REVISION][/FILE], or a file .txt with one such model a
    line; there may be several. Each model that can be imported is; if others cannot, the
    command names them and exits with 1. Only safetensors files are read, by ranges.
    """
    from catalog.console.progress import Progress
    from catalog.importing.source import import_source

    bar = Progress(0, "networks", "import")
    summary = import_source(
        catalog_path,
        sources,
        format=format_name,
        zoo=zoo,
        license=licence,
        metadata=metadata,
        run=run,
        rename=_renames(rename),
        percent=percent,
        load=load,
        temperature=temperature,
        one_layout=one_layout,
        allow_nonfinite=allow_nonfinite,
        axes=axes,
        tensors=tensors,
        progress=bar.update,
    )
    bar.close(summary.networks)
    for table in summary.unread:
        note(
            f"{table} was not read. If it describes the networks: --metadata {word(table)}"
        )
    if as_json:
        print_json(asdict(summary))
    else:
        _say(summary)
    if summary.failed:
        for name, reason in summary.failed.items():
            note(f"{name}: {reason}")
        raise CatalogError(
            f"{len(summary.failed):,} of {summary.networks + len(summary.failed):,} models "
            "were not imported, for the reasons above. The others are in the catalogue: "
            "the same command tries only those again."
        )


def _say(summary: ImportSummary) -> None:
    say(
        f"{summary.zoo} ({summary.format}): {summary.imported:,} of {summary.networks:,} "
        f"networks imported, {summary.known:,} were already there; {summary.runs:,} runs, "
        f"{summary.weights:,} with weights in {summary.layouts} layouts "
        f"({summary.symbols} with axis symbols), "
        f"{summary.bytes / 1e6:,.1f} MB in {len(summary.shards)} shards"
    )
    for line in summary.notes:
        say(line)


def _renames(pairs: tuple[str, ...]) -> dict[str, str]:
    new_names: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (old and equals and new) or old in new_names:
            raise click.BadParameter(
                f"{pair!r} must have the form OLD=NEW, once per column.",
                param_hint="--rename",
            )
        new_names[old] = new
    return new_names
