"""Checks that refuse compressed files that would fill the memory or the disk."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from catalog.errors import CatalogError

UNSUSPICIOUS = 256 << 20
"""Expanded size in bytes up to which every file is accepted."""

RATIO = 200
"""Largest expansion ratio of larger files; numbers and tables do not reach this ratio."""


def check_archive(path: Path, members: Iterable[zipfile.ZipInfo]) -> None:
    """Refuse an archive whose members claim far more bytes than the file has.

    Raises
    ------
    CatalogError
        If the claimed size exceeds both limits.
    """
    _check(path, sum(member.file_size for member in members))


def check_expansion(path: Path) -> None:
    """Refuse a compressed table that expands too far; the expanded text is not kept.

    Raises
    ------
    CatalogError
        If the expanded size exceeds both limits.
    """
    if path.stat().st_size * 1100 < UNSUSPICIOUS:  # deflate expands at most 1032-fold
        return
    size = 0
    with pa.input_stream(path) as stream:
        while block := stream.read(1 << 20):
            size += len(block)
            _check(path, size)


def _check(path: Path, expanded: int) -> None:
    size = path.stat().st_size
    if expanded > max(UNSUSPICIOUS, RATIO * size):
        raise CatalogError(
            f"{path} has {size:,} bytes and would expand to {expanded:,} or more, over "
            f"{RATIO} times as many, which no table and no weights do. If you trust the "
            "file, expand it yourself and import the result."
        )
