"""Tensors of a remote safetensors file, by ranges of bytes.

The first request reads the beginning of the file, which holds the header of nearly all
models. Each further request reads tensors that lie together. The values go straight into
the arrays, so memory holds nothing but them.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from catalog.errors import CatalogError
from catalog.formats.format import Tensor
from catalog.formats.safetensors_file import check_dtype, tensor_of
from catalog.formats.safetensors_ranges import (
    Place,
    RangedHeader,
    header_end,
    ranged_header,
)
from catalog.hub.client import again
from catalog.remote.http_store import HttpStore
from catalog.remote.sparse_file import JOINED, merged_spans, remaining_spans
from catalog.remote.store import stream_resumed

BEGINNING = 128 << 10
"""Bytes of the first request, unless the names of all tensors of the file are known."""

_SMALLEST = 4 << 10
_ENTRY = 110
"""Most bytes of an entry of a header beside the name: dtype, shape and offsets."""


@dataclass(frozen=True)
class RemoteTensors:
    """A remote file: its header, and the bytes of its beginning that were read for that."""

    store: HttpStore
    path: str
    header: RangedHeader
    beginning: bytes

    @property
    def where(self) -> str:
        """Address of the file in errors."""
        return f"{self.store.address}/{self.path}"

    def bytes_of(self, names: Collection[str]) -> int:
        """Return the bytes of some tensors.

        Raises
        ------
        CatalogError
            If a catalogue cannot hold one of them.
        """
        places = self.header.places
        for name in names:
            check_dtype(self.where, name, places[name].dtype)
        return sum(places[name].stop - places[name].start for name in names)

    def read(self, names: Sequence[str], moved: Callable[[int], None]) -> dict[str, Tensor]:
        """Read some tensors, in the given order.

        Parameters
        ----------
        names : sequence of str
            Names of the tensors.
        moved : callable
            Called with numbers of bytes that have arrived.

        Raises
        ------
        CatalogError
            If the file cannot be read, or memory does not suffice.
        """
        places = {name: self.header.places[name] for name in names}
        try:
            data = {
                name: np.empty(place.stop - place.start, np.uint8)
                for name, place in places.items()
            }
        except MemoryError as error:
            raise CatalogError(
                f"{self.where}: memory does not suffice for {self.bytes_of(names):,} bytes."
            ) from error
        filling = _Filling(places, data)
        filling.fill(0, self.beginning)
        wanted = merged_spans([(p.start, p.stop) for p in places.values()], JOINED)
        for start, stop in remaining_spans(wanted, [(0, len(self.beginning))]):
            at = start
            for block in stream_resumed(self.store, self.path, start, stop):
                filling.fill(at, block)
                at += len(block)
                moved(len(block))
        return {
            name: tensor_of(self.where, place.dtype, place.shape, data[name])
            for name, place in places.items()
        }


class _Filling:
    """Arrays of bytes of tensors, filled with blocks of the file."""

    def __init__(self, places: dict[str, Place], data: dict[str, Array]) -> None:
        ordered = sorted(places, key=lambda name: places[name].start)
        self._places = [(places[name], data[name]) for name in ordered]
        self._stops = [place.stop for place, _ in self._places]

    def fill(self, at: int, block: bytes) -> None:
        """Copy the part of a block at a position of the file that belongs to tensors."""
        values, end = np.frombuffer(block, np.uint8), at + len(block)
        for i in range(bisect_right(self._stops, at), len(self._places)):
            place, target = self._places[i]
            if place.start >= end:
                break
            first, last = max(place.start, at), min(place.stop, end)
            target[first - place.start : last - place.start] = values[
                first - at : last - at
            ]


def remote_tensors(
    store: HttpStore, path: str, names: Collection[str] | None = None
) -> RemoteTensors:
    """Read the header of a remote file.

    Parameters
    ----------
    store : HttpStore
        Files of the model.
    path : str
        Path of the file.
    names : collection of str, optional
        Names of all its tensors if an index tells them; from these the size of the header
        is estimated.

    Raises
    ------
    CatalogError
        If the file is no safetensors file, or cannot be read.
    """
    where = f"{store.address}/{path}"
    count = BEGINNING if names is None else _estimate(names)
    beginning, size = again(lambda: store.beginning(path, count))
    end = header_end(where, beginning, size)
    if end > len(beginning):
        first = len(beginning)
        beginning += b"".join(stream_resumed(store, path, first, end))
    return RemoteTensors(store, path, ranged_header(where, beginning, size), beginning)


def _estimate(names: Collection[str]) -> int:
    entries = sum(len(json.dumps(name)) + _ENTRY for name in names)
    return min(BEGINNING, max(_SMALLEST, entries + 512))
