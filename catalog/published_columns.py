"""Columns that a publisher gives: which table they belong to, and under which name.

A documented name keeps its meaning only if the publisher means the same. So what this
project computes itself (`run_id`, `shard`, ...) is kept as ``published_<name>``.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError
from catalog.foreign import Scalar
from catalog.schema import CHECKPOINTS, RUNS

_COMPUTED = frozenset(
    [
        "run_id",
        "zoo",
        "source",
        "parents",
        "architecture",
        "arch_id",
        "parameters",
        "task",
        "data_fingerprint",
        "config",
        "code_version",
        "engine",
        "created",
        "split_by_run",
        "split_by_cell",
        "split_by_zoo",
        "step",
        "finite",
        "shard",
        "row",
    ]
)
_RUNS = {column.name for column in RUNS} - _COMPUTED
_CHECKPOINTS = {column.name for column in CHECKPOINTS} - _COMPUTED

Columns = dict[str, Scalar]


def sort_columns(
    values: Mapping[str, Scalar], *, free: str = "checkpoint"
) -> tuple[Columns, Columns]:
    """Columns of `runs` and of `checkpoints`.

    Parameters
    ----------
    free : {"run", "checkpoint"}, default="checkpoint"
        Where undocumented columns go.
    """
    run: Columns = {}
    checkpoint: Columns = {}
    for published, value in values.items():
        name, low = published, published.lower()
        if low in _COMPUTED or (low != name and low in _RUNS | _CHECKPOINTS):
            name = f"published_{published}"
        of_run = name in _RUNS or (free == "run" and name not in _CHECKPOINTS)
        (run if of_run else checkpoint)[name] = value
    return run, checkpoint


def flatten(values: Mapping[str, Any], where: str) -> Columns:
    """Nested configuration as columns: ``a::b``, ``a.b`` and ``{a: {b}}`` are ``a_b``.

    Lists and empty objects become JSON text.

    Raises
    ------
    CatalogError
        If two keys become one name.
    """
    found: Columns = {}
    for key, value in _leaves(values):
        name = re.sub(r"(::|\.|/)", "_", key)
        if name in found:
            raise CatalogError(f"{where}: two settings would be called {name!r}.")
        found[name] = value
    return found


def _leaves(values: Mapping[str, Any]) -> list[tuple[str, Scalar]]:
    found: list[tuple[str, Scalar]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found += [(f"{key}::{inner}", leaf) for inner, leaf in _leaves(value)]
        elif value is None or isinstance(value, str | int | float | bool):
            found.append((str(key), value))
        else:
            found.append((str(key), json.dumps(value, default=str)))
    return found


def parse(text: str) -> Scalar:
    """The number, truth value or absence that a text writes; else the text itself.

    Numbers with leading zeros are names (``model_0007``) and stay text. Nothing is ever
    evaluated.

    Examples
    --------
    >>> [parse(text) for text in ("3e-05", "16", "True", "None", "007", "['a']")]
    [3e-05, 16, True, None, '007', "['a']"]
    """
    if text in ("", "None", "null"):
        return None
    if text in ("True", "true", "False", "false"):
        return text in ("True", "true")
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text):
        return int(text)
    if re.fullmatch(
        r"[+-]?(0|[1-9]\d*)?\.?\d*([eE][+-]?\d+)?|[+-]?(inf|nan|Infinity|NaN)", text
    ):
        try:
            return text if re.match(r"[+-]?0\d", text) else float(text)
        except ValueError:
            return text
    return text


def read_metadata(path: Path) -> dict[str, Columns]:
    """Rows of a csv by its column ``path``; a column is of one type throughout.

    Raises
    ------
    CatalogError
        If it cannot be read, has no column ``path``, or names a path twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
            names = list(reader.fieldnames or [])
    except (OSError, ValueError, csv.Error) as error:
        raise CatalogError(f"{path} is not a readable csv file: {error}") from error
    if "path" not in names or len(set(names)) != len(names):
        raise CatalogError(
            f"{path} needs the column 'path', and every column once. It has: "
            f"{', '.join(names)}."
        )
    if any(None in row or None in row.values() for row in rows):
        raise CatalogError(
            f"{path}: a row has more or fewer fields than {', '.join(names)}."
        )
    found: dict[str, Columns] = {}
    for row in typed_rows(rows):
        key = str(row.pop("path"))
        if key in found:
            raise CatalogError(f"{path} has two rows for {key!r}.")
        found[key] = row
    return found


def typed_rows(rows: Sequence[Mapping[str, str]]) -> list[Columns]:
    """Rows of text, each column of one type in all rows that have it; see `parse`."""
    kinds: dict[str, set[type]] = {}
    for row in rows:
        for name, text in row.items():
            kinds.setdefault(name, set()).add(type(parse(text)))
    numbers = {int, float, type(None)}
    whole = {
        name
        for name, types in kinds.items()
        if name != "path" and (types <= numbers or len(types - {type(None)}) == 1)
    }
    return [
        {name: parse(text) if name in whole else text or None for name, text in row.items()}
        for row in rows
    ]


def match_rows(rows: Mapping[str, Columns], names: list[str], path: Path) -> None:
    """Raise unless a csv has one row for each network and no other.

    Raises
    ------
    CatalogError
        With the first names that miss.
    """
    known = set(names)
    lost = [name for name in names if name not in rows]
    extra = [name for name in rows if name not in known]
    for those, problem in ((lost, "has no row for"), (extra, "names, but there is no")):
        if those:
            raise CatalogError(
                f"{path} {problem} {', '.join(map(repr, those[:3]))} ({len(those)} of "
                f"{len(names)} networks). Its column 'path' must hold the path of every "
                "network below the source."
            )
