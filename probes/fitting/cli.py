"""The verb probe: fit a probe, or apply a saved one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
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

_APPLY = "apply"
_ROWS = 30
"""Targets and predictions that are printed; --json prints all."""


_KIN = {
    "run": "made from them, or from what they were made from",
    "sibling": "made from them",
    "cell": "such as other seeds of their cells",
    "zoo": "of their zoos",
    "tree": "of their trees",
}
"""What a fit keeps on one side with what it learns from, by how it splits."""


class _Probes(click.Group):
    """One command for each probe, and ``apply``; probes are imported when one is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Only ``apply``: ``--list`` shows the probes."""
        return [_APPLY]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The command ``apply``, or one that fits the probe of this name."""
        if cmd_name == _APPLY:
            return apply
        return _fitting(cmd_name)


@click.group(
    cls=_Probes,
    invoke_without_command=True,
    subcommand_metavar="NAME --target COLUMN [OPTIONS] | apply FILE [OPTIONS]",
    epilog="Example: phasezoo probe statistics --target test_accuracy",
)
@click.option("--list", "listing", is_flag=True, help="List the probes.")
@json_option
@click.pass_context
def probe(context: click.Context, listing: bool, as_json: bool) -> None:
    """Learn from weights: fit the probe NAME to a column of models, or apply a saved one.

    'phasezoo probe NAME --help' shows the options. A good start is NAME = statistics, which
    reads networks of any shapes, or linear, which reads weights of one layout.
    """
    if context.invoked_subcommand is not None:
        return
    if not listing:
        raise click.UsageError("Name a probe and a --target, or give --list.")
    from probes.estimators import PROBES

    rows = [{"probe": name, "summary": kind.summary} for name, kind in PROBES.items()]
    print_json(rows) if as_json else print_table(rows)


def _where(function: Any) -> Any:
    for option in (
        click.option(
            "--steps",
            default="last",
            show_default=True,
            type=click.Choice(["last", "all"]),
            help="Which of the selected checkpoints of each run.",
        ),
        click.option(
            "--where", default="true", metavar="SQL", help="A condition on models."
        ),
    ):
        function = option(function)
    return function


def _fitting(name: str) -> click.Command:
    """The command that fits one probe."""

    @click.command(
        name, epilog="Example: phasezoo probe statistics --target test_accuracy --by cell"
    )
    @click.option(
        "--target",
        "targets",
        multiple=True,
        required=True,
        metavar="COLUMN",
        help="Of models; also a pattern (saw_*) or NAME=SQL. May be repeated.",
    )
    @click.option(
        "--task",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "regression", "classification"]),
    )
    @click.option(
        "--by",
        default="run",
        show_default=True,
        type=click.Choice(["run", "sibling", "cell", "zoo", "tree"]),
        help="What is never on both sides; zoo and tree are held out in turn.",
    )
    @click.option(
        "--folds",
        "deal",
        type=click.IntRange(2),
        help="Deal runs or cells to folds, each judged once, instead of the fixed split.",
    )
    @click.option(
        "--layer",
        multiple=True,
        metavar="TENSOR",
        help="To read, may be repeated; or auto: chosen on training networks.",
    )
    @click.option("--seeds", type=click.IntRange(1), default=1, show_default=True)
    @click.option(
        "--relative",
        type=click.Choice(["quantile", "standard"]),
        help="Compare statistics within each zoo, with its training networks; those of a "
        "held-out zoo with one another, without targets.",
    )
    @settings_option("NAME=VALUE", "A parameter of it.")
    @click.option(
        "--to", metavar="FILE", help="Where to keep it; default in the catalogue."
    )
    @click.option("--again", is_flag=True, help="Fit also what was fitted before.")
    @_where
    @catalog_option
    @json_option
    def fit(catalog_path: str, as_json: bool, **options: Any) -> None:
        """Fit a probe, judge it on networks that it has not seen, write predictions back.

        The predictions are columns PROBE_TARGET of models, and PROBE_TARGET_split says
        which networks were learnt from. What was fitted before is not fitted again. Fits of
        one probe to one target share the columns: the last one that you ask for is shown.
        """
        from probes.file import as_probe
        from probes.fitting.fit import fit_probe
        from probes.fitting.settings import probe_named

        probe_named(name, options["settings"])  # refuses before anything is read
        store = open_catalog(catalog_path)
        result = fit_probe(store, name, announce=note, **options)
        if result["known"]:
            note("Fitted before; --again fits it anew.")
        with as_probe(result["file"]):
            print_json(result) if as_json else _print(result)

    return fit


@click.command(
    epilog="Example: phasezoo probe apply probe.safetensors --where \"zoo = 'other'\""
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@_where
@catalog_option
@json_option
def apply(file: str, where: str, steps: str, catalog_path: str, as_json: bool) -> None:
    """Predict with the probe in FILE, and write it back as columns of models.

    Where the target is known, the predictions are scored. Networks that the probe learnt
    from are left out of the score, under any name; so are their kin, which the fit keeps
    on one side with them, such as other seeds of a cell after --by cell. With --json the
    score goes to stderr.
    """
    from probes.fitting.apply import apply_probe

    store = open_catalog(catalog_path)
    table, left_out, applied = apply_probe(
        store, file, where=where, steps=steps, announce=note
    )
    for reason, count in left_out.items():
        note(f"Left out: {count:,} with {reason}.")
    if applied.note:
        for line in applied.note.split("\n"):
            note(line)
    else:
        if applied.learnt_from:
            note(f"Left out of the score: {applied.learnt_from:,} that were learnt from.")
        if applied.kin:
            note(
                f"Left out of the score: {applied.kin:,} kin of these, {_KIN[applied.by]}."
            )
        if applied.groups == 1:
            note(f"All are of one group by {applied.by}: the score has no interval.")
    if as_json:
        for one in applied.estimates:
            note(
                f"{one.score} of {_sized(applied.judged_on, 'network')} in "
                f"{_sized(applied.groups, 'group')}: {one.value:.4g} "
                + (
                    f"({one.low:.4g} to {one.high:.4g})"
                    if math.isfinite(one.low)
                    else "(no interval)"
                )
            )
        print_json(table.to_pylist())
        return
    if applied.estimates:
        networks, groups = _sized(applied.judged_on, "network"), applied.groups
        say(f"{networks} in {_sized(groups, 'group')}:")
        print_table([_row(asdict(one)) for one in applied.estimates])
        if groups == 1:
            say("No interval: only 1 group of related runs judged; widen --where.")
        say()
    print_table(table.slice(0, _ROWS).to_pylist())
    if len(table) > _ROWS:
        note(f"First {_ROWS} of {len(table):,}; all are in models, and --json prints all.")


def _print(result: Mapping[str, Any]) -> None:
    networks = _sized(result["judged_on"], "network")
    groups = _sized(result["groups"], "group")
    told = f"{networks} in {groups}, by {result['by']}"
    say(f"{result['probe']}: {result['target']} of {told}")
    print_table([_row(one) for one in result["estimates"]])
    for line in result.get("notes", ()):  # older files have none
        say(line)
    for name in ("by_fold", "by_target"):
        if result[name]:
            say()
            print_table(_each(name.removeprefix("by_"), result[name]))
    say()
    say(f"{result['file']}: the probe")
    say(f"{', '.join(_shown(result['columns']))}: its predictions, in models")


def _sized(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _row(estimate: Mapping[str, Any]) -> dict[str, Any]:
    """A line of a table, with a dash for what is not there."""
    found = {"score": estimate["score"]}
    for name in ("value", "low", "high", "baseline"):
        found[name] = estimate[name] if math.isfinite(estimate[name]) else None
    return found


def _each(
    kind: str, parts: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    rows = [
        {kind: name, **_row(estimate)}
        for name, estimates in parts.items()
        for estimate in estimates
        if kind == "fold" or estimate is estimates[0]
    ]
    return rows[: 3 * _ROWS]


def _shown(columns: Sequence[str]) -> list[str]:
    if len(columns) <= 4:
        return list(columns)
    return [*columns[:2], "...", columns[-1]]
