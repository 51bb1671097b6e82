"""safetensors files as named tensors of `catalog.dtypes`, in the order of their bytes.

The library reads and checks; it gives bytes, so that bfloat16 passes without a numpy
type. Writing is ours: the library sorts tensors by dtype and name, and the order of a
layout would be lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from catalog.dtypes import dtype
from catalog.errors import CatalogError
from catalog.formats.format import Tensor

DTYPE_OF = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
DTYPE_OF |= {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "BOOL": "bool"}
DTYPE_OF |= {"U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8"}
DTYPE_OF |= {"C64": "complex64"}
"""Names in `catalog.dtypes` of the format's codes."""
_CODES = {name: code for code, name in DTYPE_OF.items()}


@dataclass(frozen=True)
class Header:
    """What a file says before its values.

    Attributes
    ----------
    shapes : dict of str to tuple of int
        In the order of the file's bytes.
    metadata : dict of str to str
        The publisher's own text.
    """

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """Names, shapes and metadata of a file, without its values.

    Raises
    ------
    CatalogError
        If the file is not what the format promises; the error names it.
    """
    try:
        with safe_open(path, "numpy") as file:
            shapes = {n: tuple(file.get_slice(n).get_shape()) for n in file.offset_keys()}
            return Header(shapes, dict(file.metadata() or {}))
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def read_tensors(path: Path, header: Header | None = None) -> dict[str, Tensor]:
    """All tensors of a file, in the order of its bytes.

    Raises
    ------
    CatalogError
        If the file is not what the format promises, or has a dtype that a catalogue
        does not hold; the error names it.
    """
    header = header or read_header(path)
    try:
        found = dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error
    return {name: _tensor(path, name, found[name]) for name in header.shapes}


def write_file(
    file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write named tensors and text to an open file.

    Raises
    ------
    CatalogError
        If the format has no such dtype, or a tensor takes the reserved name.
    """
    for block in file_blocks(tensors, metadata):
        file.write(block)


def file_blocks(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Iterator[bytes]:
    """Give the bytes that `write_file` writes: those before the values, then each tensor's.

    Raises
    ------
    CatalogError
        As `write_file`, before the first block.
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
    yield len(text).to_bytes(8, "little") + text
    for tensor in tensors.values():
        yield np.ascontiguousarray(tensor.values).tobytes()


def _tensor(path: Path, name: str, value: Mapping[str, Any]) -> Tensor:
    if value["dtype"] not in DTYPE_OF:
        raise CatalogError(
            f"{path}: tensor {name!r} is {value['dtype']}; a catalogue holds "
            f"{', '.join(DTYPE_OF)}. Convert it first."
        )
    kind = DTYPE_OF[value["dtype"]]
    flat = np.frombuffer(value["data"], dtype(kind).storage)
    try:
        return Tensor(flat.reshape(value["shape"]), kind)
    except ValueError as error:  # an empty array with a length that no array has
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CatalogError:
    return CatalogError(
        f"{path} is not a readable safetensors file ({error}). It is truncated or damaged, "
        "or a pointer to a file that was not downloaded (git lfs pull): fetch it again and "
        "compare its checksum."
    )
