"""Reading and writing of safetensors files as named tensors, in the order of their bytes.

The safetensors library reads and checks files. It returns bytes, so bfloat16, which numpy
lacks, passes through. This module writes files itself, because the library sorts tensors by
dtype and name, which would lose the order of a layout.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
"""Names in `catalog.dtypes` by the codes of the file format."""
_CODES = {name: code for code, name in DTYPE_OF.items()}


@dataclass(frozen=True)
class Header:
    """Header of a file.

    Attributes
    ----------
    shapes : dict of str to tuple of int
        Shapes of the tensors by name, in the order of the file's bytes.
    metadata : dict of str to str
        Text that the publisher added.
    """

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def read_header(path: Path, where: object = None) -> Header:
    """Read the names, shapes and metadata of a file without its values.

    Parameters
    ----------
    path : Path
        The file.
    where : object, optional
        Name of the file in errors. Default: the path.

    Raises
    ------
    CatalogError
        If the file is not a readable safetensors file; the error names the file.
    """
    try:
        with safe_open(path, "numpy") as file:
            shapes = {n: tuple(file.get_slice(n).get_shape()) for n in file.offset_keys()}
            return Header(shapes, dict(file.metadata() or {}))
    except (OSError, SafetensorError) as error:
        raise damaged(where or path, error) from error


def read_tensors(path: Path, header: Header | None = None) -> dict[str, Tensor]:
    """Read all tensors of a file, in the order of its bytes.

    Parameters
    ----------
    path : Path
        The file.
    header : Header, optional
        Header of the file, if it was read already.

    Raises
    ------
    CatalogError
        If the file is not a readable safetensors file, or has a dtype that a catalogue
        cannot hold; the error names the file.
    """
    header = header or read_header(path)
    try:
        raw_tensors = dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError) as error:
        raise damaged(path, error) from error
    tensors = {}
    for name in header.shapes:
        raw = raw_tensors[name]
        check_dtype(path, name, raw["dtype"])
        tensors[name] = tensor_of(path, raw["dtype"], raw["shape"], raw["data"])
    return tensors


def write_file(
    file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write named tensors and text to an open file.

    Raises
    ------
    CatalogError
        If the file format lacks the dtype of a tensor, or a tensor has the reserved name
        ``__metadata__``.
    """
    for block in file_blocks(tensors, metadata):
        file.write(block)


def file_blocks(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Iterator[bytes]:
    """Yield the bytes that `write_file` writes: first the header, then each tensor.

    Raises
    ------
    CatalogError
        If the file format lacks the dtype of a tensor, or a tensor has the reserved name
        ``__metadata__``. The error is raised before the first block.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
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
            "data_offsets": [offset, offset + values.nbytes],
        }
        offset += values.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for tensor in tensors.values():
        yield np.ascontiguousarray(tensor.values).tobytes()


def check_dtype(where: object, name: str, code: str) -> None:
    """Raise a CatalogError if a catalogue cannot hold a tensor of the file format."""
    if code not in DTYPE_OF:
        raise CatalogError(
            f"{where}: tensor {name!r} is {code}, but a catalogue holds only "
            f"{', '.join(DTYPE_OF)}. Convert the tensor first."
        )


def tensor_of(where: object, code: str, shape: Sequence[int], data: Any) -> Tensor:
    """Make a tensor from its bytes in a file.

    Parameters
    ----------
    where : object
        Name of the file in errors.
    code : str
        Dtype as the file format spells it, one of `DTYPE_OF`.
    shape : sequence of int
        Shape of the tensor.
    data : buffer
        Its bytes.

    Raises
    ------
    CatalogError
        If numpy has no array of this shape.
    """
    kind = DTYPE_OF[code]
    flat = np.frombuffer(data, dtype(kind).storage)
    try:
        return Tensor(flat.reshape(shape), kind)
    except ValueError as error:  # an empty array with an impossible length
        raise damaged(where, error) from error


def damaged(where: object, error: object) -> CatalogError:
    """Return the error about a file that is not what the file format asks for."""
    return CatalogError(
        f"{where} is not a readable safetensors file ({error}). The file is truncated or "
        "damaged, or a pointer to a file that was not downloaded (git lfs pull): fetch it "
        "again and compare its checksum."
    )
