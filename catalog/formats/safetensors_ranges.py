"""Header of a safetensors file whose values stay elsewhere, and the places of its tensors.

The safetensors library checks the header as it checks that of a local file: it reads a
temporary file that has the header and the length of the remote file, and no values. Such a
file is sparse, so it takes no more space than the header.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from catalog.errors import CatalogError
from catalog.formats.json_columns import parse_settings
from catalog.formats.safetensors_file import Header, damaged, read_header

LARGEST_HEADER = 32 << 20
"""Bytes of a header above which it is refused: parsing takes many times its size."""

_PREFIX = 8


class Place(NamedTuple):
    """Place of a tensor in a file.

    Attributes
    ----------
    dtype : str
        Code of the file format, such as F32.
    shape : tuple of int
    start, stop : int
        First byte in the file, and the byte after the last.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class RangedHeader(Header):
    """Header of a file, with the places of its tensors in the order of the file's bytes."""

    places: dict[str, Place]


def header_end(where: object, beginning: bytes, size: int) -> int:
    """Return the number of bytes before the values, from the first bytes of a file.

    Parameters
    ----------
    where : object
        Name of the file in errors.
    beginning : bytes
        First bytes of the file, at least 8 unless it is shorter.
    size : int
        Bytes of the whole file.

    Raises
    ------
    CatalogError
        If the header would not fit into the file, or is too large.
    """
    end = _PREFIX + int.from_bytes(beginning[:_PREFIX], "little")
    if len(beginning) < _PREFIX or end > size:
        raise damaged(where, f"a header of {end - _PREFIX:,} bytes in {size:,}")
    if end > LARGEST_HEADER:
        raise CatalogError(
            f"{where} has a header of {end:,} bytes; at most {LARGEST_HEADER:,} are read."
        )
    return end


def ranged_header(where: object, beginning: bytes, size: int) -> RangedHeader:
    """Parse the header of a file of which only the first bytes are here.

    Parameters
    ----------
    where : object
        Name of the file in errors.
    beginning : bytes
        First bytes of the file: the whole header at least, see `header_end`.
    size : int
        Bytes of the whole file.

    Raises
    ------
    CatalogError
        If the header is not that of a safetensors file of this size.
    """
    text = beginning[: header_end(where, beginning, size)]
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        try:
            file.write(text)
            file.flush()
            file.truncate(size)
        except OSError as error:
            raise damaged(where, error) from error
        header = read_header(Path(file.name), where)
    entries = parse_settings(text[_PREFIX:], where)
    places = {}
    for name, shape in header.shapes.items():
        entry = entries[name]
        start, stop = (len(text) + offset for offset in entry["data_offsets"])
        places[name] = Place(entry["dtype"], shape, start, stop)
    return RangedHeader(header.shapes, header.metadata, places)
