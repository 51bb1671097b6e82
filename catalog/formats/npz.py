"""Arrays of an .npz file, whole or one row at a time, and never a pickle."""

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
"""Rows without values that an array may have: they cost no byte in the file."""

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class ArrayHeader:
    """What an array is, before its values."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


class Archive:
    """An open .npz file; use it as a context manager.

    Raises
    ------
    CatalogError
        If the file is damaged, or holds anything but arrays of numbers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path):
            self._zip = zipfile.ZipFile(path)
            infos = self._zip.infolist()
            check_archive(path, infos)
            self.headers: dict[str, ArrayHeader] = {}
            for info in infos:
                name = info.filename.removesuffix(".npy")
                if name == info.filename or name in self.headers:
                    raise CatalogError(
                        f"{path}: member {info.filename!r} is no array of its own; an "
                        ".npz holds one NAME.npy per array."
                    )
                self.headers[name] = self._header(info)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    def tensor(self, name: str) -> Tensor:
        """One array, whole."""
        header = self.headers[name]
        with reading(self.path), self._values(name) as file:
            flat = np.frombuffer(_exactly(file, header.nbytes), header.dtype)
            _exactly(file, 0, last=True)
            values = flat.reshape(header.shape, order="F" if header.fortran else "C")
        return Tensor.from_array(values, f"{self.path}: {name!r}")

    def rows(self, name: str) -> Iterator[Array]:
        """Slices of an array along its first axis, read one at a time."""
        header = self.headers[name]
        if header.fortran and len(header.shape) > 1:  # a row is scattered over the file
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
    """Say which file is damaged."""
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
        f"{path} cannot be read ({error}). It is damaged or no .npz file: download it "
        "again and compare its checksum."
    )


def _read_header(file: IO[bytes], where: str) -> ArrayHeader:
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise CatalogError(f"{where} is in version {version} of .npy, not in 1.0 or 2.0.")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise CatalogError(
            f"{where} holds Python objects, which are a pickle: loading one can run any "
            "code, so it is not read. Save the numbers themselves: "
            "numpy.savez(FILE, **{name: array})"
        )
    empty = math.prod(shape) == 0 and max(shape, default=0) > _MOST_EMPTY
    if any(size < 0 for size in shape) or empty:
        raise CatalogError(f"{where} has the shape {shape}, which no array has.")
    return ArrayHeader(tuple(shape), bool(fortran), dtype)


def _exactly(file: IO[bytes], size: int, *, last: bool = False) -> bytes:
    data = file.read(size) if size else b""
    if len(data) != size or (last and file.read(1)):  # reading on checks the CRC
        raise EOFError("the values end early or late")
    return data
