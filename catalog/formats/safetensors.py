"""One network per .safetensors file, alone or in a folder tree."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError, deserialize

from catalog.csv_table import CsvTable, typed
from catalog.dtypes import DTYPES
from catalog.errors import CatalogError
from catalog.foreign import Network, Tensor
from catalog.formats.lora import lora
from catalog.formats.source import (
    files_of,
    network,
    network_name,
    rows_by_name,
    table_beside,
)

_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_NAMES |= {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "BOOL": "bool"}
_NAMES |= {"U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8"}
_NAMES |= {"C64": "complex64"}
_DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
_LONGEST_HEADER = 100_000_000  # the format's own limit


class Safetensors:
    """Text in the header's metadata becomes columns; ``format`` is the writer's mark.

    Tensors come in the order in which they stand in the file: the order of the state
    dict is not kept by most writers.
    """

    name = "safetensors"
    summary = "one .safetensors per network; columns from its header, or a csv"

    def recognises(self, source: Path) -> bool:
        """Whether it is, or holds, such files."""
        return bool(files_of(source, ".safetensors")) and not lora.recognises(source)

    def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
        """Networks in order of path; see `Format.read`."""
        found = files_of(source, ".safetensors")
        if not found:
            raise CatalogError(f"{source} holds no .safetensors file.")
        files = {network_name(source, path): path for path in found}
        beside = table_beside(source, metadata)
        rows = rows_by_name(beside, list(files)) if beside else {}
        headers = _header_table(source, found)
        for i, (name, path) in enumerate(files.items()):
            row = headers.row(i)
            if beside:
                own = beside.row(rows[name])
                if both := row.keys() & own.keys():
                    raise CatalogError(
                        f"{path}: its header and {beside.path} both have {sorted(both)}; "
                        "remove them from the table."
                    )
                row |= own
            yield network(name, _tensors(path), row)


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        found = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error
    order = {name: i for i, name in enumerate(_header(path))}
    tensors = {}
    for name, value in sorted(found, key=lambda item: order[item[0]]):
        if value["dtype"] not in _NAMES:
            raise CatalogError(
                f"{path}: tensor {name!r} is {value['dtype']}; a catalogue holds "
                f"{', '.join(_NAMES)}. Convert it first."
            )
        dtype = _NAMES[value["dtype"]]
        flat = np.frombuffer(value["data"], DTYPES[dtype].storage)
        tensors[name] = Tensor(flat.reshape(value["shape"]), dtype)
    return tensors


def _header_table(source: Path, files: list[Path]) -> CsvTable:
    """Metadata of all files, each column typed by all of its values."""
    texts = [_texts(path) for path in files]
    names = dict.fromkeys(name for text in texts for name in text)
    columns = {
        name: pa.array([text.get(name) for text in texts], pa.string()) for name in names
    }
    return CsvTable(source, typed(pa.table(columns)))


def _texts(path: Path) -> dict[str, str]:
    metadata = _header(path, metadata=True)
    return {k: str(v) for k, v in metadata.items() if k != "format"}


def _header(path: Path, *, metadata: bool = False) -> Mapping[str, object]:
    """Tensors in the order of their bytes, or the metadata, of a file's JSON header."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _LONGEST_HEADER:
                raise ValueError(f"a header of {length:,} bytes")
            value = json.loads(file.read(length))
        texts = value.pop("__metadata__", {})
        if metadata:
            return dict(texts)
        return dict(sorted(value.items(), key=lambda item: item[1]["data_offsets"]))
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CatalogError:
    return CatalogError(
        f"{path} is not a readable safetensors file ({error}). It is damaged: download "
        "it again and compare its checksum."
    )


FORMAT = Safetensors()
