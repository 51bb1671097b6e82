"""Export of networks to safetensors, npz, Arrow IPC and registered formats.

Every writer keeps the dtypes of the source. Files are written atomically and replace
existing files only if forced. Writers are entry points of the group ``phasezoo.exports``
and are called with a selection and an open binary file.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from catalog.catalog import Catalog
from catalog.console.table import cell
from catalog.dtypes import Array, dtype
from catalog.errors import CatalogError, LayoutMismatch, NotFound, closest
from catalog.formats.blank_nulls import blank_nulls
from catalog.formats.format import Tensor
from catalog.formats.safetensors_file import write_file
from catalog.names import canonical_json, escape
from catalog.plugins.registry import Registry
from catalog.quoting import literal
from catalog.selection import Selection
from catalog.storage.shard import arrow_column, row_group_rows
from catalog.storage.whole_file import folder_of, whole_file
from catalog.storage.whole_folder import whole_folder

Write = Callable[[Selection, BinaryIO], None]
PREFIX = "tensor."
"""Prefix of tensor columns in Arrow files, which sets them apart from `models` columns."""

EXPORTS: Registry[Write] = Registry("export", object)
"""Writers by kind of file."""

NPZ_KEYS = ("pz_run_id", "pz_step", "pz_table", "pz_layout")
"""Names of the arrays of an npz file that are not tensors."""

INDEX = "phasezoo.jsonl"
"""Index file of a folder of networks: one line per network with path and `models` row."""

ALIASES = {"pth": "pt", "th": "pt"}
"""Alternative file endings and the kinds that they stand for."""

_MANY = ("npz", "arrow")

_INSTEAD = "name another with --to"


def find_checkpoint(catalog: Catalog, identifier: str) -> Selection:
    """Find the checkpoint that ``RUN`` or ``RUN@STEP`` names.

    Parameters
    ----------
    catalog : Catalog
        The catalogue.
    identifier : str
        Prefix of a run_id, optionally with a step. Default: the last step with weights.

    Raises
    ------
    NotFound
        If there is no such checkpoint, or several run_ids begin with the prefix.
    """
    prefix, at, step = identifier.partition("@")
    if not prefix or (at and not re.fullmatch(r"[0-9]{1,18}", step)):
        raise NotFound(
            f"{identifier!r} is not the name of a checkpoint; expected the first "
            "characters of a run_id, optionally with @STEP, e.g. 3fa9@1500."
        )
    condition = f"starts_with(run_id, {literal(prefix)}) AND row IS NOT NULL"
    runs = catalog.sql(
        f"SELECT DISTINCT run_id FROM models WHERE {condition} ORDER BY 1 LIMIT 2"
    ).fetchall()
    if not runs:
        raise NotFound(
            f"No run with weights begins with {prefix!r}. List them: phasezoo sql "
            '"SELECT run_id, step FROM models WHERE row IS NOT NULL"'
        )
    if len(runs) > 1:
        raise NotFound(
            f"Several runs begin with {prefix!r}, e.g. {runs[0][0]} and {runs[1][0]}; give "
            "more characters."
        )
    at_step = f" AND step = {step}" if at else ""
    selection = catalog.select(f"{condition}{at_step} ORDER BY step DESC LIMIT 1")
    if not len(selection):
        steps = catalog.sql(
            f"SELECT step FROM models WHERE {condition} ORDER BY 1"
        ).fetchall()
        known_steps = ", ".join(str(row[0]) for row in steps[:20])
        raise NotFound(f"Run {runs[0][0]} has no step {step}. Its steps: {known_steps}.")
    return selection


def export(
    selection: Selection, path: str | Path, kind: str | None = None, *, force: bool = False
) -> list[Path]:
    """Write the selected networks to a file, or to a folder with one file per network.

    Parameters
    ----------
    selection : Selection
        Networks from `Catalog.select` or `find_checkpoint`.
    path : str or Path
        A file, whose ending determines the kind; or a folder, whose name has no ending or
        a trailing slash.
    kind : str, optional
        ``safetensors``, ``npz``, ``arrow`` or another registered kind. Default: the ending
        of ``path``, or safetensors for a folder.
    force : bool, default=False
        Replace an existing file, or an existing folder that an export wrote.

    Returns
    -------
    list of Path
        The files with weights.

    Raises
    ------
    CatalogError
        If the path is taken or cannot be written, or the kind is unknown.
    LayoutMismatch
        If a stacked file would hold several layouts.
    """
    slash = str(path).endswith("/")
    path = Path(path)
    ending = path.suffix.removeprefix(".").lower()
    ending = ALIASES.get(ending, ending)
    folder = slash or ending not in EXPORTS
    if folder and ending and not (slash or kind):
        raise NotFound(
            f"Cannot tell the kind of {path}: no kind of file ends in {path.suffix}. "
            f"{closest(ending, EXPORTS)} For a folder with one file per network: "
            f"--to {path}/, or add --kind safetensors."
        )
    kind = ALIASES.get(kind or "", kind) or ("safetensors" if folder else ending)
    if kind not in EXPORTS:
        raise NotFound(f"Cannot write {kind!r} files. {closest(kind, EXPORTS)}")
    if not len(selection):
        raise NotFound("No checkpoint matches the condition; there is nothing to export.")
    stacked = kind in _MANY
    if not folder and kind != ending:
        raise CatalogError(f"{path} ends in .{ending}, but --kind is {kind}.")
    if folder and stacked:
        raise CatalogError(
            f"{kind} is one file for all networks: use --to {path}.{kind} instead of "
            f"{path}."
        )
    if not folder and not stacked and len(selection) > 1:
        raise CatalogError(
            f"A {kind} file holds one network, but {len(selection)} are selected. Name a "
            f"folder: --to {path.with_suffix('')}; or one file for all networks: --to "
            f"{path.with_suffix('.npz')}"
        )
    if stacked:
        _ = selection.layout  # several layouts are refused before anything is written
    _check_free(path, folder, force)
    write = EXPORTS[kind]
    if folder:
        return _write_folder(selection, path, kind, write)
    folder_of(path, instead=_INSTEAD)
    with whole_file(path, instead=_INSTEAD) as file:
        write(selection, file)
    return [path]


def write_safetensors(selection: Selection, file: BinaryIO) -> None:
    """Write one network, with its row of `models` as text in the header."""
    layout = selection.layout
    tensors = {
        name: Tensor(values, layout[name].dtype) for name, values in selection[0].items()
    }
    row = selection.table.slice(0, 1).to_pylist()[0]
    metadata = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in row.items()
        if value is not None
    }
    # JSON too, which distinguishes text from numbers and keeps the order.
    metadata["phasezoo.row"] = json.dumps({k: v for k, v in row.items() if v is not None})
    metadata["phasezoo.layout"] = canonical_json(layout.to_json())
    write_file(file, tensors, metadata)


def fits_npz(name: str) -> bool:
    """Return True if an npz file, which has 16 bits for sizes, can hold a tensor's name."""
    fits = len(f"{name}.npy".encode()) < 1 << 16
    return fits and name not in NPZ_KEYS and "\0" not in name


def write_npz(selection: Selection, file: BinaryIO) -> None:
    """Write each tensor of all networks as an array ``(n, *shape)``; bfloat16 as uint16.

    ``pz_run_id`` and ``pz_step`` name the rows; ``pz_table`` (rows of `models`) and
    ``pz_layout`` are bytes of UTF-8 JSON.
    """
    layout = selection.layout
    unwritable = [name for name in (param.name for param in layout) if not fits_npz(name)]
    if unwritable:
        raise LayoutMismatch(
            f"An npz file cannot hold a tensor called {cell(unwritable[0])!r}. Write "
            ".arrow instead."
        )
    table = json.dumps(selection.table.to_pylist()).encode()
    layout_json = canonical_json(layout.to_json()).encode()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:

        def put(name: str, values: Array) -> None:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)

        for param in layout:
            put(param.name, selection.tensor(param.name))
        put("pz_run_id", np.array(selection.table["run_id"].to_pylist(), np.str_))
        put("pz_step", selection.table["step"].to_numpy())
        put("pz_table", np.frombuffer(table, np.uint8))
        put("pz_layout", np.frombuffer(layout_json, np.uint8))


def write_arrow(selection: Selection, file: BinaryIO) -> None:
    """Write rows of `models` with a column ``tensor.<name>`` per tensor, as in shards."""
    layout = selection.layout
    params = [param for param in layout if param.size]
    names = [PREFIX + escape(param.name) for param in params]
    clashes = set(names) & set(selection.table.column_names)
    if clashes:
        raise LayoutMismatch(
            f"Column {min(clashes)!r} of models has the name of a tensor column."
        )
    fields = [
        pa.field(name, dtype(param.dtype).arrow_type(param.size), nullable=False)
        for name, param in zip(names, params, strict=True)
    ]
    schema = pa.schema(
        [*selection.table.schema, *fields],
        {"phasezoo.layout": canonical_json(layout.to_json())},
    )
    rows = row_group_rows(layout)
    with pa.ipc.new_file(file, schema) as writer:
        for first in range(0, len(selection), rows):
            part = selection.slice(first, rows)
            columns = [blank_nulls(column) for column in part.table.columns]
            columns += [arrow_column(part.tensor(p.name), p) for p in params]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _write_folder(selection: Selection, path: Path, kind: str, write: Write) -> list[Path]:
    keys = selection.table.select(["run_id", "step"]).to_pylist()
    names = [f"{quote(key['run_id'], safe='')}@{key['step']}.{kind}" for key in keys]
    index = [{"path": n, **row} for n, row in zip(names, _plain(selection), strict=True)]
    with whole_folder(path, instead=_INSTEAD) as folder:
        for i, name in enumerate(names):
            with (folder / name).open("wb") as file:
                write(selection.slice(i, 1), file)
        (folder / INDEX).write_text("\n".join(json.dumps(row) for row in index) + "\n")
    return [path / name for name in names]


def _plain(selection: Selection) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = selection.table.to_pylist()
    return [{k: v for k, v in row.items() if v is not None} for row in rows]


def _other_files(path: Path) -> set[str]:
    """List the files in the folder of an export that the export did not write."""
    try:
        lines = (path / INDEX).read_text().splitlines()
        listed = {json.loads(line)["path"] for line in lines}
    except (ValueError, KeyError, TypeError, RecursionError):
        listed = set()
    return {entry.name for entry in path.iterdir()} - listed - {INDEX}


def _check_free(path: Path, folder: bool, force: bool) -> None:
    if not os.path.lexists(path):
        return
    is_export = path.is_dir() and (path / INDEX).is_file()
    if folder and path.is_dir() and not is_export and any(path.iterdir()):
        raise CatalogError(
            f"{path} is a folder with other files and is not replaced. Name a new folder."
        )
    if folder and is_export and (other_files := _other_files(path)):
        raise CatalogError(
            f"{path} also holds {len(other_files)} files that no export wrote, such as "
            f"{min(other_files)!r}, and is not replaced. Move these files away, or name a "
            "new folder."
        )
    if not folder and path.is_dir():
        raise CatalogError(f"{path} is a folder; name a file.")
    if folder and not path.is_dir():
        raise CatalogError(
            f"{path} is a file. Name a folder, or a file that ends in .safetensors, .npz "
            "or .arrow."
        )
    if not force and (not folder or is_export):
        raise CatalogError(f"{path} exists. Replace it with --force, or name another path.")
