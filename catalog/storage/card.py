"""README.md of a catalogue, with configurations for `datasets` and the Hub's viewer.

Without named configurations, two architectures in one folder raise a CastError, and
files are sorted into splits by words in their paths. Therefore every configuration lists
its files. Shards may add columns to `runs` and `checkpoints`, but `datasets` takes the
columns from the first file alone. Therefore the configurations of these two tables also
list their columns, and a shard that lacks a column has nulls there.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import ShardCorrupt
from catalog.printable import yaml_text
from catalog.schema import PARENTS, TABLES
from catalog.storage.folder import KINDS, Folder
from catalog.storage.inside_folder import check_inside
from catalog.storage.manifest import parse_json
from catalog.storage.partial import partial_sentence
from catalog.storage.snapshot import Snapshot

_PLAIN = {*KINDS, "bool", "double", "float", "float64", "int64", "string"}
"""Frequent words that YAML reads as text without quotes."""

_METADATA = ("checkpoints", "runs", "tensors", "tensor_stats", "chunks")
_WIDENING = ("checkpoints", "runs")

Free = dict[str, dict[str, str]]
"""Types of undocumented columns, by file and then by column name."""


def write_card(folder: Folder, snapshot: Snapshot) -> None:
    """Write README.md for a snapshot, unless somebody else wrote the existing one."""
    path = folder.root / "README.md"
    if path.exists() and (
        not path.is_file() or _MARK not in path.read_text(errors="replace")
    ):
        return
    folder.write(path, card(snapshot, _free_columns(folder, snapshot)).encode())


def card_text(folder: Folder, snapshot: Snapshot, *, license: str | None = None) -> str:
    """Return the text of the card of a snapshot whose metadata is in a folder.

    Parameters
    ----------
    license : str, optional
        Licence to be stated.
    """
    text = card(snapshot, _free_columns(folder, snapshot))
    if license is not None:
        text = text.replace("---\n", f"---\nlicense: {yaml_text(license)}\n", 1)
    return text


def is_our_card(text: str) -> bool:
    """Report if a README was written by `write_card` and may be replaced."""
    return _MARK in text


def card(snapshot: Snapshot, free: Free | None = None) -> str:
    """Return the text of the card.

    Every kind of metadata is a configuration, `checkpoints` is the default, and the
    weights of every architecture are a configuration of their own.

    Parameters
    ----------
    snapshot : Snapshot
        Snapshot whose files are listed.
    free : dict, optional
        Types of undocumented columns, by file and then by column name.
    """
    configs: dict[str, list[str]] = {kind: [] for kind in _METADATA}
    for manifest in snapshot.manifests:
        for kind, file in manifest.own.items():
            if kind == "weights":
                configs.setdefault(manifest.arch_id, []).append(file.path)
            elif kind in configs:
                configs[kind].append(file.path)
    lines = ["---", "configs:"]
    for name, paths in configs.items():
        if not paths:
            continue
        lines.append(f"- config_name: {_scalar(name)}")
        if name == _METADATA[0]:
            lines.append("  default: true")
        lines += ["  data_files:", "  - split: train", "    path:"]
        lines += [f"    - {_scalar(path)}" for path in paths]
    features = [
        line
        for kind in _WIDENING
        if any((free or {}).get(path) for path in configs[kind])
        for line in _features(kind, [(free or {}).get(path, {}) for path in configs[kind]])
    ]
    if features:
        lines += ["dataset_info:", *features]
    lines += ["---", "", _MARK, "", _TEXT]
    if sentence := partial_sentence(snapshot):
        lines.append(f"{sentence}\n")
    return "\n".join(lines)


def _features(kind: str, shards: Sequence[dict[str, str]]) -> list[str]:
    """Return YAML lines for documented columns, then for columns that any shard adds."""
    added: dict[str, str] = {}
    for columns in shards:
        for name, type_ in columns.items():
            added[name] = _common(added.setdefault(name, type_), type_)
    lines = [f"- config_name: {kind}", "  features:"]
    for column in TABLES[kind]:
        lines.append(f"  - name: {column.name}")
        if column.type == PARENTS:
            lines.append("    list:")
            for field in PARENTS.value_type:
                lines += [f"    - name: {field.name}", f"      dtype: {_type(field.type)}"]
        else:
            lines.append(f"    dtype: {_type(column.type)}")
    for name, type_ in added.items():
        lines += [f"  - name: {yaml_text(name)}", f"    dtype: {_scalar(type_)}"]
    return lines


def _scalar(text: str) -> str:
    """Return text as a YAML scalar, quoted unless YAML reads it as text anyway."""
    plain = re.fullmatch(r"[a-z][a-z0-9_]*([./-][a-z0-9_-]+)+", text)
    return text if plain or text in _PLAIN else yaml_text(text)


def _type(type_: pa.DataType) -> str:
    return {"double": "float64"}.get(str(type_), str(type_))


def _common(first: str, second: str) -> str:
    """Return a type that holds the values of both types."""
    if first == second:
        return first
    return "float64" if {first, second} == {"int64", "float64"} else "string"


def _free_columns(folder: Folder, snapshot: Snapshot) -> Free:
    """Return the undocumented columns of every file, read from new files alone.

    Shards never change, so the columns of the other files come from the cache.
    """
    path = folder.cache / "columns.json"
    cached: Free = {}
    if path.exists():
        with contextlib.suppress(ShardCorrupt):  # the cache is rebuilt below
            cached = _valid_columns(parse_json(folder, path))
    columns_by_file: Free = {}
    for manifest in snapshot.manifests:
        for kind in _WIDENING:
            if kind not in manifest.own:
                continue
            file = manifest.own[kind].path
            columns = cached.get(file)
            if columns is None:
                try:
                    check_inside(folder.root, folder.root / file)
                    schema = pq.read_schema((folder.root / file).absolute())
                except (OSError, pa.ArrowException, UnicodeError):
                    continue  # `verify` reports it; other commits must not fail
                documented = {column.name for column in TABLES[kind]}
                columns = {
                    f.name: _type(f.type) for f in schema if f.name not in documented
                }
            columns_by_file[file] = columns
    if columns_by_file != cached:
        folder.remember(path, json.dumps(columns_by_file).encode())
    return columns_by_file


def _valid_columns(value: Any) -> Free:
    """Return the entries of a cached JSON value that have the right form."""
    files = value.items() if isinstance(value, dict) else ()
    return {
        file: columns
        for file, columns in files
        if isinstance(columns, dict) and all(isinstance(c, str) for c in columns.values())
    }


_MARK = "<!-- written by phasezoo; delete this line to keep your own text -->"
_TEXT = """# A catalogue of neural networks

Metadata and weights of populations of networks as Parquet shards. With phasezoo:

    phasezoo sql "SELECT zoo, count(*) FROM models GROUP BY zoo" --catalog THIS_FOLDER

Without: `checkpoints` and `runs` join on `run_id`; the weights of a checkpoint are row
`row` of the file `weights/<arch_id>/<shard>.parquet`, one column per tensor. Measures
have their own columns per file and are read with DuckDB:
`FROM read_parquet('measures/*.parquet', union_by_name=true)`.
"""
