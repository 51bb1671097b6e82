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
from collections.abc import Mapping, Sequence
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

METADATA = ("checkpoints", "runs", "tensors", "tensor_stats", "chunks")
_WIDENING = ("checkpoints", "runs", "measures")

Free = dict[str, dict[str, str]]
"""Types of undocumented columns, by file and then by column name."""


def write_card(folder: Folder, snapshot: Snapshot) -> None:
    """Write README.md for a snapshot, unless somebody else wrote the existing one."""
    path = folder.root / "README.md"
    if path.exists() and (
        not path.is_file() or MARK not in path.read_text(errors="replace")
    ):
        return
    folder.write(path, card(snapshot, free_columns(folder, snapshot, METADATA)).encode())


def is_our_card(text: str) -> bool:
    """Report if a README was written by `write_card` and may be replaced."""
    return MARK in text


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
    lines = configuration_lines(configurations(snapshot, METADATA), free or {})
    sentence = partial_sentence(snapshot)
    notice = [f"{sentence}\n"] if sentence else []
    return "\n".join(["---", *lines, "---", "", MARK, "", _TEXT, *notice])


def configurations(snapshot: Snapshot, kinds: Sequence[str]) -> dict[str, list[str]]:
    """Return files by configuration: kinds of metadata, then weights by architecture."""
    configs: dict[str, list[str]] = {kind: [] for kind in kinds}
    for manifest in snapshot.manifests:
        for kind, file in manifest.own.items():
            if kind == "weights":
                configs.setdefault(manifest.arch_id, []).append(file.path)
            elif kind in configs:
                configs[kind].append(file.path)
    return {name: paths for name, paths in configs.items() if paths}


def configuration_lines(
    configs: Mapping[str, Sequence[str]],
    free: Free,
    *,
    default: str = METADATA[0],
    comments: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the YAML lines of configurations, and of columns that `datasets` must know.

    Parameters
    ----------
    configs : mapping of str to sequence of str
        Files by configuration.
    free : dict
        Types of undocumented columns, by file and then by column name.
    default : str, default="checkpoints"
        Name of the default configuration.
    comments : mapping of str to str, optional
        Comments on configurations, each one line of plain text.
    """
    lines = ["configs:"]
    for name, paths in configs.items():
        if comments and name in comments:
            lines.append(f"# {comments[name]}")
        lines.append(f"- config_name: {_scalar(name)}")
        if name == default:
            lines.append("  default: true")
        lines += ["  data_files:", "  - split: train", "    path:"]
        lines += [f"    - {_scalar(path)}" for path in paths]
    features = [
        line
        for kind in _WIDENING
        if any(free.get(path) for path in configs.get(kind, ()))
        for line in _features(kind, [free.get(path, {}) for path in configs[kind]])
    ]
    return [*lines, "dataset_info:", *features] if features else lines


def _features(kind: str, shards: Sequence[dict[str, str]]) -> list[str]:
    """Return YAML lines for documented columns, then for columns that any shard adds."""
    added: dict[str, str] = {}
    for columns in shards:
        for name, type_ in columns.items():
            added[name] = _common(added.setdefault(name, type_), type_)
    lines = [f"- config_name: {kind}", "  features:"]
    for column in TABLES.get(kind, ()):
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


def free_columns(folder: Folder, snapshot: Snapshot, kinds: Sequence[str]) -> Free:
    """Return the undocumented columns of every file, read from new files alone.

    Shards never change, so the columns of the other files come from the cache.

    Parameters
    ----------
    folder : Folder
        Folder with the metadata.
    snapshot : Snapshot
        Snapshot whose files are read.
    kinds : sequence of str
        Kinds of metadata; those whose shards never add columns are left out.
    """
    path = folder.cache / "columns.json"
    cached: Free = {}
    if path.exists():
        with contextlib.suppress(ShardCorrupt):  # the cache is rebuilt below
            cached = _valid_columns(parse_json(folder, path))
    columns_by_file: Free = {}
    for manifest in snapshot.manifests:
        for kind in _WIDENING:
            if kind not in kinds or kind not in manifest.own:
                continue
            file = manifest.own[kind].path
            columns = cached.get(file)
            if columns is None:
                try:
                    check_inside(folder.root, folder.root / file)
                    schema = pq.read_schema((folder.root / file).absolute())
                except (OSError, pa.ArrowException, UnicodeError):
                    continue  # `verify` reports it; other commits must not fail
                documented = {column.name for column in TABLES.get(kind, ())}
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


MARK = "<!-- written by phasezoo; delete this line to keep your own text -->"
_TEXT = """# A catalogue of neural networks

Metadata and weights of populations of networks as Parquet shards. With phasezoo:

    phasezoo sql "SELECT zoo, count(*) FROM models GROUP BY zoo" --catalog THIS_FOLDER

Without: `checkpoints` and `runs` join on `run_id`; the weights of a checkpoint are row
`row` of the file `weights/<arch_id>/<shard>.parquet`, one column per tensor. Measures
have their own columns per file and are read with DuckDB:
`FROM read_parquet('measures/*.parquet', union_by_name=true)`.
"""
