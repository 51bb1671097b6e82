"""A document about one thing as lines of text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from catalog.console.table import cell, table_lines
from catalog.printable import printable
from catalog.show.blocks import bars, counted, sparkline

MOST_ROWS = 24
"""Rows of a table that are printed; --json prints all."""

MOST_HISTOGRAMS = 4
"""Tensors whose histograms are printed in full: the largest ones."""

_SAID_IF_NONE = ("parents", "children", "tensors")
_WIDEST = 110


def page(document: Mapping[str, Any], *, blocks: bool = True) -> str:
    """Text of what `describe` found.

    Parameters
    ----------
    document : dict
        From `describe`.
    blocks : bool, default=True
        Draw with block characters; else with plain ASCII.
    """
    lines = [f"{document['kind'].capitalize()} {document['id']}", ""]
    for name, section in document.items():
        if name in ("kind", "id") or name.endswith("_are"):
            continue
        body = _section(name, section, document, blocks)
        if not body and name in _SAID_IF_NONE:
            body = ["  (none)"]
        if body:
            note = document.get(f"{name}_are")
            title = name.replace("_", " ").capitalize()
            lines += [f"{title}{f' ({note})' if note else ''}:", *body, ""]
    return "\n".join(map(printable, lines)).rstrip()


def _section(name: str, value: Any, document: Mapping[str, Any], blocks: bool) -> list[str]:
    if name == "trajectory":
        return _trajectory(value, blocks)
    if name == "tensors" and "histograms" in document:
        value = [_drawn(row, document["histograms"], blocks) for row in value]
    if name == "histograms":
        return _histograms(value, document["tensors"], blocks)
    if _is_histogram(value):
        return _indented(bars(value, blocks))
    if isinstance(value, Mapping):
        if value and all(map(_is_histogram, value.values())):
            return _each(value, blocks)
        names = [printable(str(key)) for key in value]
        wide = max(map(len, names), default=0)
        facts = zip(names, map(_fact, value.values()), strict=True)
        return [f"  {name:{wide}}  {fact}" for name, fact in facts]
    return _table(value)


def _is_histogram(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"edges", "counts", "nonfinite"}


def _fact(value: Any) -> str:
    if isinstance(value, list):
        return cell(", ".join(map(cell, value)), _WIDEST)
    return cell(value, _WIDEST)


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    # Rows may lack what they do not have: all columns, in the order of first sight.
    columns = list(dict.fromkeys(name for row in rows for name in row))
    wide = [{name: _plain(row.get(name)) for name in columns} for row in rows]
    lines = table_lines(wide[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        lines.append(f"... and {len(rows) - MOST_ROWS:,} more rows; --json prints all")
    return _indented(lines)


def _plain(value: Any) -> Any:
    return ", ".join(map(cell, value)) if isinstance(value, list) else value


def _indented(lines: list[str]) -> list[str]:
    return ["  " + line for line in lines]


def _trajectory(columns: Mapping[str, list[Any]], blocks: bool) -> list[str]:
    """A sparkline per metric, with where it began, ended and was extreme."""
    steps = columns["step"]
    rows = []
    for name, values in columns.items():
        if name in ("step", "row", "finite"):
            continue
        known = [v for v in values if v is not None]
        rows.append(
            {
                "metric": name,
                f"step {steps[0]} to {steps[-1]}": sparkline(values, blocks),
                "first": known[0],
                "last": known[-1],
                "least": min(known),
                "greatest": max(known),
            }
        )
    at = ", ".join(map(str, steps[:MOST_ROWS])) + (", ..." * (len(steps) > MOST_ROWS))
    if not steps:
        return []
    plural = "checkpoints at steps" if len(steps) > 1 else "checkpoint at step"
    return [*_table(rows), f"  {len(steps)} {plural} {at}"]


def _drawn(
    row: Mapping[str, Any], histograms: Mapping[str, Any], blocks: bool
) -> dict[str, Any]:
    histogram = histograms.get(row["tensor"])
    return {**row, "values": counted(histogram, blocks) if histogram else ""}


def _histograms(
    histograms: Mapping[str, Any], tensors: list[Mapping[str, Any]], blocks: bool
) -> list[str]:
    sizes = {row["tensor"]: row["size"] for row in tensors}
    many = [name for name in histograms if sizes.get(name, 0) > 1]
    largest = set(sorted(many, key=lambda name: -sizes[name])[:MOST_HISTOGRAMS])
    lines = _each({n: h for n, h in histograms.items() if n in largest}, blocks)
    left = len(many) - len(largest)
    if left:
        lines.append(f"  {left:,} smaller tensors are not drawn; --json has them all")
    return lines


def _each(histograms: Mapping[str, Any], blocks: bool) -> list[str]:
    lines = []
    for name, histogram in histograms.items():
        lines += [f"  {name}  ({sum(histogram['counts']):,} values)"]
        lines += [f"    {line}" for line in bars(histogram, blocks)]
    return lines
