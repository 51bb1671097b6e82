"""safetensors files without the safetensors library: a length, a JSON header, bytes.

The header is checked before a value is touched: offsets must tile the rest of the file
and agree with shape and dtype, as the format [1]_ demands.

References
----------
.. [1] https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from catalog.dtypes import Array, dtype
from catalog.errors import CatalogError
from catalog.foreign import Tensor

LONGEST_HEADER = 100_000_000
"""Bytes, as in the reference implementation."""

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
_CODES = {name: code for code, name in _DTYPES.items()}


@dataclass(frozen=True)
class Entry:
    """What the header says about one tensor.

    Attributes
    ----------
    dtype : str
        A name of `catalog.dtypes`.
    shape : tuple of int
    start, stop : int
        Bytes, counted from the end of the header.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Header:
    """The checked header of a file.

    Attributes
    ----------
    entries : dict of str to Entry
        In the order of the file's bytes.
    metadata : dict of str to str
        The publisher's own text.
    data : int
        Byte of the file where values start.
    """

    entries: dict[str, Entry]
    metadata: dict[str, str]
    data: int


def read_header(path: Path) -> Header:
    """Names, shapes and metadata of a file, without its values.

    Raises
    ------
    CatalogError
        If the file is not what the format promises; the error names it.
    """
    try:
        with path.open("rb") as file:
            return _header(path, file)
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}.") from error


def read_tensors(path: Path, header: Header | None = None) -> dict[str, Tensor]:
    """All tensors of a file, in the order of its bytes.

    Raises
    ------
    CatalogError
        If the file is not what the format promises; the error names it.
    """
    header = header or read_header(path)
    try:
        with path.open("rb") as file:
            file.seek(header.data)
            data = file.read()
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}.") from error
    tensors = {}
    for name, entry in header.entries.items():
        storage = dtype(entry.dtype).storage
        if entry.stop > len(data):
            raise CatalogError(f"{path} ended while it was read.")
        values: Array = np.frombuffer(
            data, storage, math.prod(entry.shape), entry.start if entry.stop else 0
        ).reshape(entry.shape)
        # Values behind a tensor of odd length start anywhere.
        tensors[name] = Tensor(
            values if values.flags.aligned else values.copy(), entry.dtype
        )
    return tensors


def write_file(
    file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write named tensors and text to an open file.

    Raises
    ------
    CatalogError
        If the format has no such dtype, or a tensor takes the reserved name.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in _CODES or name == "__metadata__":
            raise CatalogError(
                f"safetensors cannot hold tensor {name!r} ({tensor.dtype}). Write .npz "
                "or .arrow."
            )
        values = tensor.values
        header[name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(values.shape),
            "data_offsets": [at, at + values.nbytes],
        }
        at += values.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for tensor in tensors.values():
        file.write(np.ascontiguousarray(tensor.values).tobytes())


def _header(path: Path, file: BinaryIO) -> Header:
    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 10 or not 2 <= length <= min(LONGEST_HEADER, size - 8):
        raise CatalogError(
            f"{path} is not a safetensors file: {size:,} bytes, header of {length:,}. It "
            "is truncated, or a pointer to a file that was not downloaded (git lfs pull)."
        )
    try:
        value = json.loads(file.read(length), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"{path}: its safetensors header is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise CatalogError(f"{path}: its safetensors header is not a JSON object.")
    metadata = value.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(
        isinstance(text, str) for text in metadata.values()
    ):
        raise CatalogError(f"{path}: __metadata__ of its header must map text to text.")
    entries = {name: _entry(path, name, item) for name, item in value.items()}
    entries = dict(sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)))
    at = 0
    for name, entry in entries.items():
        if entry.start != at:
            raise CatalogError(
                f"{path}: tensor {name!r} starts at byte {entry.start}, the one before "
                f"it ends at {at}; tensors must follow one another."
            )
        at = entry.stop
    if at != size - 8 - length:
        raise CatalogError(
            f"{path}: its tensors end at byte {at:,} of {size - 8 - length:,}. It is "
            "truncated or has something behind it: fetch it again."
        )
    return Header(entries, metadata, 8 + length)


def _entry(path: Path, name: str, item: Any) -> Entry:
    try:
        code, shape, (start, stop) = item["dtype"], item["shape"], item["data_offsets"]
        numbers = [*shape, start, stop]
        sound = all(type(n) is int and n >= 0 for n in numbers) and isinstance(code, str)
    except (TypeError, KeyError, ValueError) as error:
        raise CatalogError(
            f"{path}: tensor {name!r} needs dtype, shape and data_offsets in the header."
        ) from error
    if code not in _DTYPES:
        raise CatalogError(
            f"{path}: tensor {name!r} is {code}; expected one of {', '.join(_DTYPES)}."
        )
    kind = _DTYPES[code]
    if not sound or math.prod(shape) * dtype(kind).storage.itemsize != stop - start:
        raise CatalogError(
            f"{path}: tensor {name!r} of shape {shape} and dtype {code} does not fill "
            f"bytes {start} to {stop}."
        )
    return Entry(kind, tuple(shape), start, stop)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found
