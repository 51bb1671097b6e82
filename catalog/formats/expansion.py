"""Compressed files that would fill the memory or the disk are refused before."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from catalog.errors import CatalogError

UNSUSPICIOUS = 256 << 20
"""Bytes that a file may always expand to."""

RATIO = 200
"""Beyond, a file may expand so many times: numbers and tables do not reach it."""


def check_archive(path: Path, members: Iterable[zipfile.ZipInfo]) -> None:
    """Refuse an archive whose members claim far more bytes than the file has.

    Raises
    ------
    CatalogError
        If they do.
    """
    _check(path, sum(member.file_size for member in members))


def check_text(path: Path) -> None:
    """Refuse a compressed table that expands too far; nothing of it is kept.

    Raises
    ------
    CatalogError
        If it does.
    """
    if path.stat().st_size * 1100 < UNSUSPICIOUS:  # deflate reaches 1032
        return
    size = 0
    with pa.input_stream(path) as stream:
        while piece := stream.read(1 << 20):
            size += len(piece)
            _check(path, size)


def _check(path: Path, expanded: int) -> None:
    size = path.stat().st_size
    if expanded > max(UNSUSPICIOUS, RATIO * size):
        raise CatalogError(
            f"{path} has {size:,} bytes and would expand to {expanded:,} or more, over "
            f"{RATIO} times as many: that is no table and no weights. If you trust it, "
            "expand it yourself and import that."
        )
