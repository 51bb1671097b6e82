"""Command line of probes: fit a probe, or apply a saved probe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from catalog.console.counting import counted
from catalog.console.options import options_of
from catalog.console.outlet import note, say
from catalog.console.program import (
    json_option,
    print_json,
    print_table,
    readable_option,
    verb,
)
from catalog.remote.opening import open_catalog
from probes.fitting.request import Checkpoints, FitRequest

_APPLY = "apply"
_ROWS = 30
"""Number of targets and predictions that are printed; --json prints all."""


_KIN = {
    "run": "which share ancestors with it",
    "sibling": "which share branches with it",
    "cell": "such as other seeds of its cells",
    "zoo": "from its zoos",
    "tree": "from its trees",
}
"""Networks that a fit keeps on one side with its training set, by its ``by``."""


class _Probes(click.Group):
    """One command for each probe, and ``apply``; a probe is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return ``apply`` only; ``--list`` shows the probes."""
        return [_APPLY]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Return the command ``apply``, or the command that fits the probe of this name."""
        if cmd_name == _APPLY:
            return apply
        return _fitting(cmd_name)


@verb(
    "probe statistics --target test_accuracy",
    cls=_Probes,
    invoke_without_command=True,
    subcommand_metavar="NAME --target COLUMN [OPTIONS] | apply FILE [OPTIONS]",
)
@click.option("--list", "listing", is_flag=True, help="List the probes and exit.")
@json_option
@click.pass_context
def probe(context: click.Context, listing: bool, as_json: bool) -> None:
    """Fit a probe to a column of models, or apply a saved probe.

    A probe predicts a property of networks, such as their test accuracy, from their
    weights. 'phasezoo probe NAME --help' shows the options. Good probes to start with are
    statistics, which reads networks of any shapes, and linear, which reads weights of one
    layout.
    """
    if context.invoked_subcommand is not None:
        return
    if not listing:
        raise click.UsageError("Name a probe and a --target, or give --list.")
    from probes.estimators import PROBES

    rows = [
        {"probe": name, "summary": kind.summary}
        for name, kind in PROBES.usable(note).items()
    ]
    print_json(rows) if as_json else print_table(rows)


def _fitting(name: str) -> click.Command:
    """Return the command that fits one probe."""

    @verb(f"probe {name} --target test_accuracy --by cell", name)
    @options_of(FitRequest)
    @readable_option
    @json_option
    def command(catalog_path: str, as_json: bool, **options: Any) -> None:
        """Fit a probe, score it on held-out networks, and write predictions back.

        The predictions become a column of models that is named after probe and target, such
        as statistics_test_accuracy, and statistics_test_accuracy_split tells training from
        test networks. A stored fit is not repeated. Fits of one probe to one
        target share the columns, which show the last fit that was requested.

        Nothing is written to a remote catalogue: the probe is written to --to, else to the
        current folder, and the predictions are not stored.
        """
        from probes.file import as_probe
        from probes.fitting.fit import fit

        request = FitRequest(probe=name, **options)  # raises before anything is read
        result = fit(open_catalog(catalog_path), request, note)
        if result["known"]:
            note("Fitted before; use --again to fit again.")
        with as_probe(result["file"]):
            print_json(result) if as_json else _print(result)

    return command


@verb("probe apply probe.safetensors --where \"zoo = 'other'\"")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@options_of(Checkpoints)
@readable_option
@json_option
def apply(file: str, catalog_path: str, as_json: bool, **options: Any) -> None:
    """Predict with the probe in FILE, and write the predictions to columns of models.

    Predictions of networks with a known target are scored. The score leaves out the
    training set of the probe, including copies under other names, and networks related to
    it, such as other seeds of a cell after --by cell. With --json the score is written to
    stderr. Of a remote catalogue the predictions are printed, and not stored.
    """
    from probes.fitting.apply import apply_probe

    store = open_catalog(catalog_path)
    table, left_out, applied = apply_probe(store, file, announce=note, **options)
    for reason, count in left_out.items():
        note(f"Left out: {count:,} with {reason}.")
    if applied.note:
        for line in applied.note.split("\n"):
            note(line)
    else:
        if applied.learnt_from:
            note(f"Left out of the score: {applied.learnt_from:,} of the training set.")
        if applied.kin:
            note(
                f"Left out of the score: {applied.kin:,} related to the training set, "
                f"{_KIN[applied.by]}."
            )
        if applied.groups == 1:
            note(f"All networks are one group by {applied.by}: the score has no interval.")
    if as_json:
        for estimate in applied.estimates:
            note(
                f"{estimate.score} on {counted(applied.judged_on, 'network')} in "
                f"{counted(applied.groups, 'group')}: {estimate.value:.4g} "
                + (
                    f"({estimate.low:.4g} to {estimate.high:.4g})"
                    if math.isfinite(estimate.low)
                    else "(no interval)"
                )
            )
        print_json(table.to_pylist())
        return
    if applied.estimates:
        networks, groups = counted(applied.judged_on, "network"), applied.groups
        say(f"{networks} in {counted(groups, 'group')}:")
        print_table([_row(asdict(estimate)) for estimate in applied.estimates])
        if groups == 1:
            say("No interval: only 1 group of related runs was scored; widen --where.")
        say()
    print_table(table.slice(0, _ROWS).to_pylist())
    if len(table) > _ROWS:
        holds = "models holds all, " if store.writable else ""
        note(f"First {_ROWS} of {len(table):,} rows; {holds}--json prints all.")


def _print(result: Mapping[str, Any]) -> None:
    networks = counted(result["judged_on"], "network")
    groups = counted(result["groups"], "group")
    scored = f"{networks} in {groups}, by {result['by']}"
    say(f"{result['probe']}: {result['target']} of {scored}")
    print_table([_row(estimate) for estimate in result["estimates"]])
    for line in result.get("notes", ()):  # files of older versions have no notes
        say(line)
    for name in ("by_fold", "by_target"):
        if result[name]:
            say()
            print_table(_part_rows(name.removeprefix("by_"), result[name]))
    say()
    say(f"{result['file']}: the fitted probe")
    if result["committed"]:
        columns = ", ".join(_abbreviated(result["columns"]))
        say(f"{columns}: its predictions, columns of models")


def _row(estimate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a table, with None for a missing value."""
    row = {"score": estimate["score"]}
    for name in ("value", "low", "high", "baseline"):
        row[name] = estimate[name] if math.isfinite(estimate[name]) else None
    return row


def _part_rows(
    kind: str, parts: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    rows = [
        {kind: name, **_row(estimate)}
        for name, estimates in parts.items()
        for estimate in estimates
        if kind == "fold" or estimate is estimates[0]
    ]
    return rows[: 3 * _ROWS]


def _abbreviated(columns: Sequence[str]) -> list[str]:
    if len(columns) <= 4:
        return list(columns)
    return [*columns[:2], "...", columns[-1]]
