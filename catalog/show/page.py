"""Formatting of a document of `catalog.show` as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from catalog.console.table import cell, table_lines
from catalog.printable import printable
from catalog.show.blocks import bars, histogram_sparkline, sparkline

MOST_ROWS = 24
"""Maximum number of printed rows of a table; --json prints all rows."""

MOST_HISTOGRAMS = 4
"""Number of tensors, the largest ones, whose histograms are printed in full."""

_SHOWN_IF_EMPTY = ("parents", "children", "tensors")
_WIDEST = 110


def page(document: Mapping[str, Any], *, blocks: bool = True) -> str:
    """Format a document as text.

    Parameters
    ----------
    document : dict
        Document from `describe`.
    blocks : bool, default=True
        Draw charts with block characters; False draws with plain ASCII.
    """
    lines = [f"{document['kind'].capitalize()} {document['id']}", ""]
    for name, section in document.items():
        if name in ("kind", "id") or name.endswith("_are"):
            continue
        body = _section(name, section, document, blocks)
        if not body and name in _SHOWN_IF_EMPTY:
            body = ["  (none)"]
        if body:
            remark = document.get(f"{name}_are")
            title = name.replace("_", " ").capitalize()
            lines += [f"{title}{f' ({remark})' if remark else ''}:", *body, ""]
    return "\n".join(map(printable, lines)).rstrip()


def _section(name: str, value: Any, document: Mapping[str, Any], blocks: bool) -> list[str]:
    if name == "trajectory":
        return _trajectory(value, blocks)
    if name == "tensors" and "histograms" in document:
        value = [_with_sparkline(row, document["histograms"], blocks) for row in value]
    if name == "histograms":
        return _largest_histograms(value, document["tensors"], blocks)
    if _is_histogram(value):
        return _indented(bars(value, blocks))
    if isinstance(value, Mapping):
        if value and all(map(_is_histogram, value.values())):
            return _histogram_lines(value, blocks)
        names = [printable(str(key)) for key in value]
        width = max(map(len, names), default=0)
        facts = zip(names, map(_fact, value.values()), strict=True)
        return [f"  {name:{width}}  {fact}" for name, fact in facts]
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
    # A row may lack some columns: use all, in the order of their first appearance.
    columns = list(dict.fromkeys(name for row in rows for name in row))
    complete = [{name: _cell_value(row.get(name)) for name in columns} for row in rows]
    lines = table_lines(complete[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        lines.append(f"... and {len(rows) - MOST_ROWS:,} more rows; --json prints all")
    return _indented(lines)


def _cell_value(value: Any) -> Any:
    return ", ".join(map(cell, value)) if isinstance(value, list) else value


def _indented(lines: list[str]) -> list[str]:
    return ["  " + line for line in lines]


def _trajectory(columns: Mapping[str, list[Any]], blocks: bool) -> list[str]:
    """Table with a sparkline per metric, and its first, last, least and greatest value."""
    steps = columns["step"]
    rows = []
    for name, values in columns.items():
        if name in ("step", "row", "finite"):
            continue
        measured = [v for v in values if v is not None]
        rows.append(
            {
                "metric": name,
                f"step {steps[0]} to {steps[-1]}": sparkline(values, blocks),
                "first": measured[0],
                "last": measured[-1],
                "least": min(measured),
                "greatest": max(measured),
            }
        )
    listed = ", ".join(map(str, steps[:MOST_ROWS])) + (", ..." * (len(steps) > MOST_ROWS))
    if not steps:
        return []
    noun = "checkpoints at steps" if len(steps) > 1 else "checkpoint at step"
    return [*_table(rows), f"  {len(steps)} {noun} {listed}"]


def _with_sparkline(
    row: Mapping[str, Any], histograms: Mapping[str, Any], blocks: bool
) -> dict[str, Any]:
    histogram = histograms.get(row["tensor"])
    return {**row, "values": histogram_sparkline(histogram, blocks) if histogram else ""}


def _largest_histograms(
    histograms: Mapping[str, Any], tensors: list[Mapping[str, Any]], blocks: bool
) -> list[str]:
    sizes = {row["tensor"]: row["size"] for row in tensors}
    not_scalar = [name for name in histograms if sizes.get(name, 0) > 1]
    largest = set(sorted(not_scalar, key=lambda name: -sizes[name])[:MOST_HISTOGRAMS])
    lines = _histogram_lines({n: h for n, h in histograms.items() if n in largest}, blocks)
    rest = len(not_scalar) - len(largest)
    if rest:
        lines.append(f"  {rest:,} smaller tensors are not drawn; --json has all histograms")
    return lines


def _histogram_lines(histograms: Mapping[str, Any], blocks: bool) -> list[str]:
    lines = []
    for name, histogram in histograms.items():
        lines += [f"  {name}  ({sum(histogram['counts']):,} values)"]
        lines += [f"    {line}" for line in bars(histogram, blocks)]
    return lines
