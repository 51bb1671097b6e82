"""Conversion of exported rows of `models` to columns of runs and checkpoints.

`models` has the columns of `runs` before ``step`` and the columns of `checkpoints` and
measures after it, so the position of an undocumented column tells its table.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError
from catalog.formats.columns import SET_HERE
from catalog.formats.format import Network, Tensor
from catalog.layout import Layout
from catalog.names import canonical_json
from catalog.schema import CHECKPOINTS, RUNS, check_columns

Row = dict[str, Any]
ORIGIN = "exported_run_id"
"""Column that keeps the run_id of the catalogue that wrote the export."""

_RUNS = {column.name for column in RUNS}
_CHECKPOINTS = {column.name for column in CHECKPOINTS}
_KINDS = (str, bool, int, float)


class ExportedRows:
    """Checked rows of all files of one export, with parent links between their runs.

    Parameters
    ----------
    rows : sequence of (Path, dict)
        Rows, each with the file that holds it.

    Raises
    ------
    CatalogError
        If a row is not a row of `models`; the error names the file.
    """

    def __init__(self, rows: Sequence[tuple[Path, Row]]) -> None:
        self._rows = rows
        kinds: dict[str, tuple[type, Path]] = {}
        column_sets: set[tuple[str, ...]] = set()
        sources: dict[str, str] = {}
        for path, row in rows:
            _check_row(path, row)
            if tuple(row) not in column_sets:
                column_sets.add(tuple(row))
                check_columns(list(row), str(path), set())
            for name, value in row.items():
                if name != "parents" and value is not None:
                    _check_value(path, name, value, kinds)
            if row.get("source_name"):
                sources.setdefault(row["run_id"], str(row["source_name"]))
        runs = {row["run_id"] for _, row in rows}
        name_counts = Counter(sources.values())
        # Runs of different zoos may have the same source_name.
        self._names = {run: run for run in runs} | {
            run: name
            for run, name in sources.items()
            if name_counts[name] == 1 and name not in runs
        }

    def network(self, i: int, tensors: Mapping[str, Tensor]) -> Network:
        """Return row i and its tensors as a foreign network."""
        path, row = self._rows[i]
        run: Row = {ORIGIN: row["run_id"]}
        checkpoint: Row = {}
        undocumented = run
        for name, value in row.items():
            if name == "step":
                undocumented = checkpoint
            if name in SET_HERE or name == ORIGIN:
                continue
            documented = run if name in _RUNS else checkpoint
            is_documented = name in _RUNS or name in _CHECKPOINTS
            (documented if is_documented else undocumented)[name] = value
        where = f"{path}: {row['run_id']}@{row['step']}"
        parents = [
            (self._names[parent["run_id"]], parent["step"], parent["role"])
            for parent in row.get("parents") or ()
            if parent["run_id"] in self._names
        ]
        return Network(
            where,
            tensors,
            run,
            checkpoint,
            self._names[row["run_id"]],
            row["step"],
            _architecture(where, row.get("architecture")),
            tuple(parents),
        )


def parse_value(path: Path, text: bytes | str, what: str) -> Any:
    """Parse a JSON text.

    Parameters
    ----------
    path : Path
        File that holds the text, for errors.
    text : bytes or str
        The text.
    what : str
        Name of the text in the file, for errors.

    Raises
    ------
    CatalogError
        If the text is not valid JSON; the error names the file.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CatalogError(
            f"{path}: its {what} is not valid JSON ({error}). The file is damaged: export "
            "it again."
        ) from error


def parse_layout(path: Path, text: bytes | str) -> Layout:
    """Parse the JSON text of a layout that an export wrote.

    Raises
    ------
    CatalogError
        If the text is not a layout; the error names the file.
    """
    value = parse_value(path, text, "phasezoo.layout")
    try:
        for entry in value:
            _check_text(path, entry["name"])
        return Layout.from_json(value)
    except (CatalogError, ValueError, LookupError, TypeError) as error:
        raise _no_layout(path, error) from error
    except (AttributeError, OverflowError) as error:
        raise _no_layout(path, error) from error


def _no_layout(path: Path, error: Exception) -> CatalogError:
    return CatalogError(
        f"{path}: its phasezoo.layout is not a valid layout ({error}). The file is "
        "damaged: export it again."
    )


def _check_row(path: Path, row: Any) -> None:
    if not isinstance(row, dict):
        raise CatalogError(f"{path}: every row must be an object. Got {row!r:.40}.")
    run_id, step = row.get("run_id"), row.get("step")
    if not isinstance(run_id, str) or not run_id or not _is_int64(step):
        raise CatalogError(
            f"{path}: every row needs a run_id (text) and a step (a whole number). Got "
            f"{run_id!r:.80} and {step!r:.80}."
        )
    if not isinstance(row.get("source_name"), str | None):
        raise CatalogError(
            f"{path}: every source_name must be text. Got {row['source_name']!r:.80}."
        )
    parents = row.get("parents")
    if parents is None:
        return
    if not isinstance(parents, list) or not all(map(_is_parent, parents)):
        raise CatalogError(
            f"{path}: the parents of run {run_id!r:.80} must be a list of objects with "
            f"run_id, step and role. Got {parents!r:.80}."
        )
    for parent in parents:
        _check_text(path, parent["role"])


def _is_parent(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("run_id"), str)
        and isinstance(value.get("role"), str)
        and _is_int64(value.get("step"))
    )


def _is_int64(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _check_value(
    path: Path, name: str, value: Any, kinds: dict[str, tuple[type, Path]]
) -> None:
    kind = type(value)
    expected, first_path = kinds.setdefault(name, (kind, path))
    if kind not in _KINDS:
        raise CatalogError(
            f"{path}: column {name!r} holds {value!r:.80}; expected text, a number or a "
            "boolean."
        )
    if kind is not expected:
        raise CatalogError(
            f"{path}: column {name!r} holds {value!r:.80}, a {kind.__name__}, but in "
            f"{first_path} a {expected.__name__}; all values of a column must have one "
            "type."
        )
    if kind is str:
        _check_text(path, value)


def _check_text(path: Path, text: Any) -> None:
    if not isinstance(text, str):
        raise CatalogError(f"{path}: expected text. Got {text!r:.80}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CatalogError(
            f"{path} holds text that is not valid Unicode: {error}."
        ) from error


def _architecture(where: str, text: str | None) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        value = json.loads(text)
        if isinstance(value, dict):
            canonical_json(value).encode()
            return value
    except (ValueError, TypeError, RecursionError) as error:
        raise CatalogError(
            f"{where}: its architecture is not valid JSON ({error})."
        ) from error
    raise CatalogError(
        f"{where}: its architecture must be a JSON object. Got {text!r:.80}."
    )
