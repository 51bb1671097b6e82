"""Reader of files that `phasezoo export` writes: .npz, .arrow, .safetensors, and folders.

An exported file describes itself: its layout gives every tensor a dtype, role and axes, and
its rows of `models` give the columns with their types. Nothing is inferred.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array, dtype
from catalog.errors import CatalogError
from catalog.formats.export import INDEX, NPZ_KEYS, PREFIX
from catalog.formats.exported_rows import ExportedRows, Row, parse_layout, parse_value
from catalog.formats.format import Network, Tensor
from catalog.formats.npz import Archive, reading
from catalog.formats.safetensors_file import read_header, read_tensors
from catalog.formats.source import files_of
from catalog.layout import Layout, Param
from catalog.names import escape

Tensors = dict[str, Tensor]
LAYOUT, ROW = "phasezoo.layout", "phasezoo.row"


class Exported:
    """Reader of the files of one export, which keeps parent links between its networks."""

    name = "exported"
    summary = "what `phasezoo export` wrote: .npz, .arrow, .safetensors, or folders"

    def recognises(self, source: Path) -> bool:
        """Return True if the first file of the source has a layout that phasezoo wrote."""
        return any(_is_exported(path) for path in _files(source)[:1])

    def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
        """Yield networks in order of path; those of a stacked file in order of its rows."""
        if metadata is not None:
            raise CatalogError(
                f"The columns of {source} are stored in the file; drop --metadata. To add "
                "columns, use phasezoo annotate after the import."
            )
        files = _files(source)
        if not files:
            raise CatalogError(f"{source} holds no .npz, .arrow or .safetensors file.")
        for path in files:
            if not _is_exported(path):
                raise CatalogError(
                    f"{path} was not written by phasezoo export, or is damaged: it has "
                    "no layout. Import files of other formats separately."
                )
        _check_index(source, files)
        rows_by_file = [(path, _READERS[path.suffix][0](path)) for path in files]
        rows = ExportedRows(
            [(path, row) for path, file_rows in rows_by_file for row in file_rows]
        )
        i = 0
        for path, file_rows in rows_by_file:
            for tensors in _READERS[path.suffix][1](path, len(file_rows)):
                yield rows.network(i, tensors)
                i += 1


def index_rows(folder: Path) -> list[Row]:
    """Read the rows of the index in the folder of an export, each with its ``path``.

    Raises
    ------
    CatalogError
        If the index is damaged.
    """
    path = folder / INDEX
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error}") from error
    rows = [parse_value(path, line, f"line {i + 1}") for i, line in enumerate(lines)]
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("path"), str):
            raise CatalogError(
                f"{path}: expected an object with a path in each line. Got {row!r:.80}."
            )
    return rows


def check_files(folder: Path, rows: list[Row], files: list[Path]) -> None:
    """Check that the index of an export lists exactly the files in its folder.

    Raises
    ------
    CatalogError
        If a listed file is missing, or a file is not listed.
    """
    listed = {row["path"] for row in rows}
    present = {path.relative_to(folder).as_posix() for path in files}
    for names, problem in ((listed - present, "missing"), (present - listed, "not listed")):
        if names:
            raise CatalogError(
                f"{folder / INDEX}: {len(names)} of {len(listed | present)} files are "
                f"{problem}, e.g. {min(names)!r:.80}. Copy the whole folder again."
            )


def _files(source: Path) -> list[Path]:
    return [path for suffix in _READERS for path in files_of(source, suffix)]


def _is_exported(path: Path) -> bool:
    try:
        if path.suffix == ".npz":
            with Archive(path) as archive:
                return {"pz_run_id", "pz_table", "pz_layout"} <= archive.headers.keys()
        if path.suffix == ".arrow":
            with _arrow(path) as reader:
                return LAYOUT.encode() in (reader.schema.metadata or {})
        return LAYOUT in read_header(path).metadata
    except CatalogError:
        return False


def _check_index(source: Path, files: list[Path]) -> None:
    if source.is_dir() and (source / INDEX).exists():
        check_files(source, index_rows(source), files)


def _npz_rows(path: Path) -> list[Row]:
    with Archive(path) as archive:
        rows = parse_value(path, _text(archive, "pz_table"), "pz_table")
        keys = {name: archive.headers.get(name) for name in ("pz_run_id", "pz_step")}
        if not isinstance(rows, list) or any(
            header is None or header.shape != (len(rows),) for header in keys.values()
        ):
            raise _damaged(path, "pz_table, pz_run_id and pz_step differ in length")
        with reading(path):
            ids = [str(value) for value in archive.rows("pz_run_id")]
            steps = [str(value) for value in archive.rows("pz_step")]
    for row, *array_key in zip(rows, ids, steps, strict=True):
        row_key = [row.get("run_id"), row.get("step")] if isinstance(row, dict) else []
        if [str(value).rstrip("\0") for value in row_key] != array_key:
            raise _damaged(
                path, f"pz_table differs from pz_run_id and pz_step at {array_key}"
            )
    return rows


def _npz_tensors(path: Path, n: int) -> Iterator[Tensors]:
    with Archive(path) as archive:
        layout = parse_layout(path, _text(archive, "pz_layout"))
        params = {param.name: param for param in layout}
        if params.keys() != archive.headers.keys() - set(NPZ_KEYS):
            raise _damaged(path, "its arrays do not match its layout")
        for name, param in params.items():
            header, storage = archive.headers[name], dtype(param.dtype).storage
            if header.shape != (n, *param.shape) or header.dtype != storage:
                raise _damaged(
                    path,
                    f"{name!r} is {header.dtype} {header.shape}, expected {storage} "
                    f"{(n, *param.shape)}",
                )
        streams = [(param, archive.rows(name)) for name, param in params.items()]
        for _ in range(n):
            yield {p.name: _tensor(next(stream), p) for p, stream in streams}
        for _, stream in streams:  # reading to the end checks the checksum
            next(stream, None)


def _text(archive: Archive, name: str) -> bytes:
    header = archive.headers.get(name)
    if header is None or header.dtype != np.uint8 or len(header.shape) != 1:
        raise _damaged(archive.path, f"it has no array {name!r} of text (uint8)")
    return archive.tensor(name).values.tobytes()


def _safetensors_rows(path: Path) -> list[Row]:
    text = read_header(path).metadata.get(ROW)
    if text is None:
        raise _damaged(path, f"its header has no {ROW}")
    return [parse_value(path, text, ROW)]


def _safetensors_tensors(path: Path, n: int) -> Iterator[Tensors]:
    header = read_header(path)
    layout = parse_layout(path, header.metadata.get(LAYOUT, ""))
    tensors = read_tensors(path, header)
    if tensors.keys() != {param.name for param in layout}:
        raise _damaged(path, "its tensors do not match its layout")
    for param in layout:
        tensor = tensors[param.name]
        if (tensor.dtype, tensor.values.shape) != (param.dtype, param.shape):
            raise _damaged(
                path,
                f"{param.name!r} is {tensor.dtype} {tensor.values.shape}, expected "
                f"{param.dtype} {param.shape}",
            )
    yield {p.name: replace(tensors[p.name], role=p.role, axes=p.axes) for p in layout}


@contextlib.contextmanager
def _arrow(
    path: Path, columns: list[int] | None = None
) -> Iterator[pa.RecordBatchFileReader]:
    options = pa.ipc.IpcReadOptions(included_fields=columns)
    with (
        _reading_arrow(path),
        pa.OSFile(str(path)) as file,
        pa.ipc.open_file(file, options=options) as reader,
    ):
        yield reader


@contextlib.contextmanager
def _reading_arrow(path: Path) -> Iterator[None]:
    try:
        yield
    except CatalogError:
        raise
    except (OSError, pa.ArrowException, ValueError, MemoryError) as error:
        raise _damaged(path, f"it is not a readable Arrow file: {error}") from error
    except (LookupError, TypeError, OverflowError) as error:
        raise _damaged(path, f"it is not a readable Arrow file: {error}") from error


def _arrow_layout(path: Path, schema: pa.Schema) -> tuple[Layout, dict[str, int]]:
    """Return the layout, and the column index of every tensor that has values."""
    layout = parse_layout(path, (schema.metadata or {}).get(LAYOUT.encode(), b""))
    places = {}
    for param in layout:
        if not param.size:
            continue
        indices = schema.get_all_field_indices(PREFIX + escape(param.name))
        kind = dtype(param.dtype).arrow_type(param.size)
        if len(indices) != 1 or schema.field(indices[0]).type != kind:
            raise _damaged(path, f"it has no column of {kind} for {param.name!r}")
        places[param.name] = indices[0]
    return layout, places


def _arrow_rows(path: Path) -> list[Row]:
    with _arrow(path) as reader:
        layout, places = _arrow_layout(path, reader.schema)
        names = reader.schema.names
    columns = [i for i in range(len(names)) if i not in places.values()]
    rows: list[Row] = []
    with _arrow(path, columns) as reader:
        for i in range(reader.num_record_batches):
            batch = reader.get_batch(i)
            batch.validate(full=True)
            rows += batch.to_pylist()
    values = sum(layout[name].nbytes for name in places)
    if len({names[i] for i in columns}) < len(columns):
        raise _damaged(path, "two columns have the same name")
    if values * len(rows) > path.stat().st_size:
        raise _damaged(path, f"it is too short for {len(rows)} networks")
    return rows


def _arrow_tensors(path: Path, n: int) -> Iterator[Tensors]:
    with _arrow(path) as reader:
        layout, places = _arrow_layout(path, reader.schema)
        batches = range(reader.num_record_batches)
    n_read = 0
    for i in batches:
        with _arrow(path) as reader:
            batch = reader.get_batch(i)
            batch.validate(full=True)
            stacked = {
                p.name: _stacked(path, batch.column(places[p.name]), p)
                if p.name in places
                else np.zeros((len(batch), *p.shape), dtype(p.dtype).storage)
                for p in layout
            }
        for row in range(len(batch)):
            yield {p.name: _tensor(stacked[p.name][row], p) for p in layout}
        n_read += len(batch)
    if n_read != n:
        raise _damaged(path, f"it has {n_read} networks but {n} rows")


def _stacked(path: Path, column: pa.Array, param: Param) -> Array:
    kind, n = dtype(param.dtype), len(column)
    if kind.typed:
        inner = column.flatten()
        nulls = column.null_count + inner.null_count
        flat = inner.to_numpy(zero_copy_only=False)
    else:
        nulls, start = column.null_count, column.offset * param.nbytes
        raw = np.frombuffer(column.buffers()[1] or b"", np.uint8)
        flat = raw[start : start + n * param.nbytes].view(kind.storage)
    if nulls or len(flat) != n * param.size:
        raise _damaged(path, f"values of {param.name!r} are missing")
    try:
        values: Array = flat.reshape(n, *param.shape)
    except ValueError as error:  # an empty array with an impossible length
        raise _damaged(path, str(error)) from error
    return values


def _tensor(values: Array, param: Param) -> Tensor:
    return Tensor(values, param.dtype, param.role, param.axes)


def _damaged(path: Path, reason: str) -> CatalogError:
    return CatalogError(
        f"{path} is damaged, or phasezoo export did not write it: {reason}. Export it "
        "again."
    )


_Rows = Callable[[Path], list[Row]]
_Values = Callable[[Path, int], Iterator[Tensors]]
_READERS: Mapping[str, tuple[_Rows, _Values]] = {
    ".safetensors": (_safetensors_rows, _safetensors_tensors),
    ".npz": (_npz_rows, _npz_tensors),
    ".arrow": (_arrow_rows, _arrow_tensors),
}

FORMAT = Exported()
