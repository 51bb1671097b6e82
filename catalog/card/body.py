"""Markdown body of a published card, section by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from catalog.card.destination import Destination
from catalog.card.facts import VIEWER_LIMIT, Facts
from catalog.card.markdown import code, escaped, listed, table
from catalog.card.pictures import Picture, can_draw
from catalog.card.use import use_lines
from catalog.console.counting import counted
from catalog.report.phase_grid import COLOURS, NAMES
from catalog.rows import Rows
from catalog.storage.card import MARK

MOST_ROWS = 100
"""Maximum number of rows of a table."""

Row = Mapping[str, Any]


def body(
    facts: Facts,
    destination: Destination,
    *,
    licences: Mapping[str, Sequence[str]],
    pictures: Sequence[tuple[str, Picture]],
    configs: Mapping[str, Sequence[str]],
    default: str,
    notices: Sequence[str],
) -> list[str]:
    """Return the lines below the front matter.

    Parameters
    ----------
    licences : mapping of str to sequence of str
        Licences by zoo.
    pictures : sequence of (str, Picture)
        Paths relative to the card, and pictures of phases.
    configs : mapping of str to sequence of str
        Files by configuration.
    default : str
        Default configuration.
    notices : sequence of str
        Sentences of plain text that readers must see first.
    """
    about = (
        f"{counted(facts.runs, 'training run')} of {counted(len(facts.zoos), 'zoo')} with "
        f"{counted(facts.checkpoints, 'checkpoint')}, {_amount(facts.bytes)} of weights, "
        f"as Parquet. Version {destination.version}, content `{destination.content}`."
    )
    return [
        "",
        MARK,
        "",
        f"# {escaped(destination.name)}: a catalogue of neural networks",
        "",
        *(line for notice in notices for line in (f"> {escaped(notice, 1000)}", "")),
        about,
        "",
        *_zoos(facts, licences),
        *_phases(facts, pictures),
        *_tasks(facts),
        *_licences(facts, licences),
        *_provenance(facts),
        *_configurations(facts, configs, default),
        *_columns(facts),
        *use_lines(
            destination,
            default,
            facts.architectures[0]["arch_id"] if facts.architectures else None,
        ),
    ]


def _zoos(facts: Facts, licences: Mapping[str, Sequence[str]]) -> list[str]:
    rows = [
        [
            code(zoo["zoo"]),
            listed(zoo["tasks"] or [], zoo["tasks_count"]),
            listed(zoo["architectures"] or [], zoo["architectures_count"]),
            _span(zoo, "parameters"),
            f"{zoo['runs']:,}",
            f"{zoo['checkpoints']:,}",
            _amount(zoo["bytes"]),
            listed(licences[zoo["zoo"]]),
            listed(zoo["sources"] or [], zoo["sources_count"]),
        ]
        for zoo in facts.zoos[:MOST_ROWS]
    ]
    names = "zoo,task,architecture,parameters,runs,checkpoints,weights,licence,source"
    return ["## Zoos", "", *table(names.split(","), rows), *_more(facts.zoos, "zoo")]


def _phases(facts: Facts, pictures: Sequence[tuple[str, Picture]]) -> list[str]:
    if not facts.phases:
        return []
    meanings = "; ".join(f"{phase} {meaning}" for phase, meaning in NAMES.items())
    columns = [*COLOURS, "unmeasured"]
    rows = [
        [code(row["zoo"]), *(f"{row[name]:,}" for name in columns)]
        for row in facts.phases[:MOST_ROWS]
    ]
    lines = [
        "## Phases",
        "",
        f"Number of checkpoints in each phase of the loss landscape: {meanings}. A phase "
        "belongs to a cell of the grid of load and temperature, at a step.",
        "",
        *table(["zoo", *columns], rows),
        *_more(facts.phases, "zoo"),
    ]
    for path, picture in pictures:
        at = "the last checkpoints" if picture.step is None else f"step {picture.step:,}"
        lines += [f"Phases of {code(picture.zoo)} at {at}:", ""]
        lines += [f"![Phases of {escaped(picture.zoo)} at {at}]({path})", ""]
    if not can_draw():
        lines += [
            "The phases are not drawn, because the publisher had no matplotlib.",
            "",
        ]
    elif len(pictures) < len(facts.phases):
        rest = len(facts.phases) - len(pictures)
        lines += [f"The phases of {counted(rest, 'zoo')} are not drawn.", ""]
    return lines


def _tasks(facts: Facts) -> list[str]:
    rows = [
        [
            code(task["task_name"]),
            listed(task["zoos"] or [], task["zoos_count"]),
            f"{task['runs']:,}",
            _span(task, "train_samples"),
            f"{task['definitions_count']:,}",
            listed(task["fingerprints"] or [], task["fingerprints_count"]),
        ]
        for task in facts.tasks[:MOST_ROWS]
    ]
    names = ["task", "zoos", "runs", "training samples", "variants", "data fingerprint"]
    return ["## Tasks", "", *table(names, rows), *_more(facts.tasks, "task")]


def _licences(facts: Facts, licences: Mapping[str, Sequence[str]]) -> list[str]:
    zoos: dict[str, list[str]] = {}
    for zoo in facts.zoos:
        for licence in licences[zoo["zoo"]]:
            zoos.setdefault(licence, []).append(zoo["zoo"])
    rows = [
        [code(licence), listed(names[:20], len(names))]
        for licence, names in sorted(zoos.items())[:MOST_ROWS]
    ]
    note = (
        "The licence of a zoo holds for all its networks. Column `license` is that of a "
        "run, where the run states one."
    )
    return ["## Licences", "", note, "", *table(["licence", "zoos"], rows)]


def _provenance(facts: Facts) -> list[str]:
    rows = [
        [
            code(zoo["zoo"]),
            listed(zoo["sources"] or [], zoo["sources_count"]),
            listed(zoo["optimizers"] or [], zoo["optimizers_count"]),
            listed(zoo["schedules"] or [], zoo["schedules_count"]),
            _span(zoo, "lr"),
            _span(zoo, "batch_size"),
            _span(zoo, "steps"),
            f"{zoo['diverged']:,}",
            listed(zoo["versions"] or [], zoo["versions_count"]),
            escaped(zoo["created_min"] and f"{zoo['created_min'][:10]}"),
        ]
        for zoo in facts.zoos[:MOST_ROWS]
    ]
    names = ["zoo", "source", "optimiser", "schedule", "learning rate", "batch size"]
    names += ["steps", "diverged", "code version", "since"]
    lines = [
        "## Provenance",
        "",
        "The whole training configuration of every run is its column `config`; data and "
        "split are identified by `data_fingerprint`. A dash means that it is not stated.",
        "",
        *table(names, rows),
    ]
    imported = [zoo for zoo in facts.zoos if zoo["source_names"]][:MOST_ROWS]
    if imported:
        rows = [
            [code(z["zoo"]), listed(z["source_names"], z["source_names_count"])]
            for z in imported
        ]
        lines += ["Names in the foreign sources (`source_name`):", ""]
        lines += table(["zoo", "names"], rows)
    if facts.parents:
        rows = [
            [code(p["zoo"]), f"{p['runs']:,}", code(p["role"]), code(p["parent_zoo"])]
            for p in facts.parents[:MOST_ROWS]
        ]
        lines += ["Runs that were derived from others (`parents`):", ""]
        lines += table(["zoo", "runs", "role of the parent", "zoo of the parent"], rows)
        lines += _more(facts.parents, "row")
    return lines


def _configurations(
    facts: Facts, configs: Mapping[str, Sequence[str]], default: str
) -> list[str]:
    sizes = {row["arch_id"]: row for row in facts.architectures}
    too_large = facts.too_large
    rows = []
    for name, paths in [*configs.items()][:MOST_ROWS]:
        size = sizes.get(name)
        group = f"{size['group_bytes'] / 2**20:,.1f} MiB" if size else "-"
        if name in too_large:
            group = f"**{group}: too large for the viewer**"
        count = f"{size['rows']:,}" if size else "-"
        rows.append([code(name), f"{len(paths):,}", count, group])
    lines = [
        "## Configurations",
        "",
        f"`{default}` is the default. Configurations with row groups have the weights of "
        "one architecture, one column per tensor.",
        "",
        *table(["configuration", "files", "networks", "largest row group"], rows),
        *_more([*configs], "configuration"),
    ]
    if too_large:
        lines += [
            "The Hub's viewer refuses row groups above "
            f"{VIEWER_LIMIT / 2**20:,.0f} MiB and shows an error for "
            f"{listed([*too_large][:20], len(too_large))}. All programs that read Parquet, "
            "and phasezoo, read them.",
            "",
        ]
    return lines


def _columns(facts: Facts) -> list[str]:
    rows = [
        [
            code(c["column"]),
            escaped(c["type"]),
            escaped(c["unit"]),
            escaped(c["meaning"], 200),
        ]
        for c in facts.columns[: 3 * MOST_ROWS]
    ]
    return [
        "## Columns of `models`",
        "",
        "One row per checkpoint. Columns without any value are not listed; `phasezoo "
        "schema` lists those of all tables.",
        "",
        *table(["column", "type", "unit", "meaning"], rows),
        *_more(facts.columns, "column", 3 * MOST_ROWS),
    ]


def _more(rows: Rows | Sequence[str], noun: str, limit: int = MOST_ROWS) -> list[str]:
    rest = len(rows) - limit
    return [f"And {counted(rest, f'more {noun}')}.", ""] if rest > 0 else []


def _span(row: Row, column: str) -> str:
    """Return the least and the greatest value of a column."""
    low, high = escaped(row[f"{column}_min"]), escaped(row[f"{column}_max"])
    return low if low == high else f"{low} to {high}"


def _amount(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
