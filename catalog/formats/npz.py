"""Reader of the arrays of .npz files, whole or row by row, which never loads a pickle."""

from __future__ import annotations

import contextlib
import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.lib import format as npy

from catalog.dtypes import Array
from catalog.errors import CatalogError
from catalog.formats.expansion import check_archive
from catalog.formats.format import Tensor

_MOST_EMPTY = 1 << 20
"""Maximum size of an axis of an array without values, which takes no bytes in the file."""

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class ArrayHeader:
    """Header of an array."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class Archive:
    """An open .npz file, as a context manager.

    Raises
    ------
    CatalogError
        If the file is damaged, or holds anything other than arrays of numbers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path):
            self._zip = zipfile.ZipFile(path)
            members = self._zip.infolist()
            check_archive(path, members)
            self.headers: dict[str, ArrayHeader] = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name == member.filename or name in self.headers:
                    raise CatalogError(
                        f"{path}: member {member.filename!r} is not allowed; an "
                        ".npz holds exactly one NAME.npy per array."
                    )
                self.headers[name] = self._header(member)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    def tensor(self, name: str) -> Tensor:
        """Read one array as a whole."""
        header = self.headers[name]
        with reading(self.path), self._values(name) as file:
            flat = np.frombuffer(_exactly(file, header.nbytes), header.dtype)
            _exactly(file, 0, last=True)
            values = flat.reshape(header.shape, order="F" if header.fortran else "C")
        return Tensor.from_array(values, f"{self.path}: {name!r}")

    def rows(self, name: str) -> Iterator[Array]:
        """Yield the slices of an array along its first axis, reading one at a time."""
        header = self.headers[name]
        if header.fortran and len(header.shape) > 1:  # rows are not contiguous
            yield from self.tensor(name).values
            return
        size = header.nbytes // max(header.shape[0], 1)
        with reading(self.path), self._values(name) as file:
            for _ in range(header.shape[0]):
                values = np.frombuffer(_exactly(file, size), header.dtype)
                yield values.reshape(header.shape[1:])
            _exactly(file, 0, last=True)

    def _header(self, info: zipfile.ZipInfo) -> ArrayHeader:
        where = f"{self.path}: {info.filename.removesuffix('.npy')!r}"
        with self._zip.open(info) as file:
            header = _read_header(file, where)
            if info.file_size - file.tell() != header.nbytes:
                raise CatalogError(
                    f"{where} should hold {header.nbytes:,} bytes for its shape "
                    f"{header.shape}, but has {info.file_size - file.tell():,}."
                )
        return header

    @contextlib.contextmanager
    def _values(self, name: str) -> Iterator[IO[bytes]]:
        with self._zip.open(f"{name}.npy") as file:
            _read_header(file, f"{self.path}: {name!r}")
            yield file


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn read errors into errors that name the damaged file."""
    try:
        yield
    except CatalogError:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error
    except (NotImplementedError, RuntimeError) as error:  # encrypted, odd compression
        raise _damaged(path, error) from error
    except (SyntaxError, TypeError, LookupError, ArithmeticError, struct.error) as error:
        raise _damaged(path, error) from error
    except (tokenize.TokenError, lzma.LZMAError, MemoryError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CatalogError:
    return CatalogError(
        f"{path} cannot be read ({error}). The file is damaged or not an .npz file: "
        "download it again and compare its checksum."
    )


def _read_header(file: IO[bytes], where: str) -> ArrayHeader:
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise CatalogError(f"{where} has version {version} of .npy; expected 1.0 or 2.0.")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise CatalogError(
            f"{where} holds Python objects in a pickle. Loading a pickle can run any code, "
            "so the array is not read. Save the numbers themselves: "
            "numpy.savez(FILE, **{name: array})"
        )
    empty = math.prod(shape) == 0 and max(shape, default=0) > _MOST_EMPTY
    if any(size < 0 for size in shape) or empty:
        raise CatalogError(f"{where} has the impossible shape {shape}.")
    return ArrayHeader(tuple(shape), bool(fortran), dtype)


def _exactly(file: IO[bytes], size: int, *, last: bool = False) -> bytes:
    data = file.read(size) if size else b""
    if len(data) != size or (last and file.read(1)):  # reading to the end checks the CRC
        raise EOFError("the values end early or late")
    return data
