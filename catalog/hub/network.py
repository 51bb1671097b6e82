"""A model of the Hub as a network: its file or files, and the tensors that are wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from catalog.errors import CatalogError
from catalog.formats.chosen_tensors import chosen_names
from catalog.formats.columns import Row
from catalog.formats.format import Tensor
from catalog.formats.json_columns import parse_settings
from catalog.formats.lora import rank_columns
from catalog.formats.sharded import INDEX, check_part, checked_weight_map
from catalog.hub.client import again
from catalog.hub.ranges import RemoteTensors, remote_tensors
from catalog.remote.http_store import HttpStore

LARGEST_INDEX = 32 << 20
"""Bytes of an index above which it is refused."""

MOST_TENSORS = 100_000
"""Tensors of a network above which it is refused: each is a column of a shard."""


class RemoteNetwork:
    """Wanted tensors of a model, of which only headers have been read.

    Parameters
    ----------
    where : str
        Address of the model in errors.
    store : HttpStore
        Its files.
    path : str
        Safetensors file, or index of several.
    patterns : sequence of str
        Patterns of the names of the wanted tensors; none for all.

    Raises
    ------
    CatalogError
        If a file is damaged or missing, a pattern matches no tensor, or the tensors need
        more than half of the machine's memory.

    Attributes
    ----------
    bytes : int
        Bytes of the wanted tensors.
    columns : dict
        Columns that follow from the shapes of the tensors.
    """

    def __init__(
        self, where: str, store: HttpStore, path: str, patterns: Sequence[str]
    ) -> None:
        self._wanted: list[tuple[RemoteTensors, list[str]]] = []
        self.columns: Row = {}
        if path.endswith(INDEX):
            self._names = self._read_parts(where, store, path, patterns)
        else:
            file = remote_tensors(store, path)
            self._names = _checked(where, chosen_names(where, file.header.shapes, patterns))
            self._wanted = [(file, self._names)]
            self.columns = rank_columns(file.where, file.header)
        self.bytes = sum(file.bytes_of(names) for file, names in self._wanted)
        most = _memory() // 2
        if self.bytes > most:
            raise CatalogError(
                f"{where}: the tensors have {self.bytes / 1e9:,.1f} GB; at most half of "
                f"the memory of this machine, {most / 1e9:,.1f} GB, is for one network. "
                "Read some of the tensors: --tensors GLOB"
            )

    def read(self, moved: Callable[[int], None]) -> dict[str, Tensor]:
        """Read the wanted tensors, in the order of the index or of the bytes of the file.

        Parameters
        ----------
        moved : callable
            Called with numbers of bytes that have arrived; an error that it raises ends
            the reading.
        """
        tensors: dict[str, Tensor] = {}
        for file, names in self._wanted:
            tensors |= file.read(names, moved)
        return {name: tensors[name] for name in self._names}

    def _read_parts(
        self, where: str, store: HttpStore, path: str, patterns: Sequence[str]
    ) -> list[str]:
        """Read the index and the headers of the parts with wanted tensors."""
        index = f"{store.address}/{path}"
        text = again(lambda: store.read(path, LARGEST_INDEX))
        weight_map = checked_weight_map(parse_settings(text, index), index)
        names = _checked(where, chosen_names(where, weight_map, patterns))
        folder = path.rpartition("/")[0]
        expected = _by_file(weight_map, weight_map)
        for part, wanted in _by_file(names, weight_map).items():
            part_path = f"{folder}/{part}" if folder else part
            file = remote_tensors(store, part_path, expected[part])
            check_part(file.where, file.header.shapes.keys(), expected[part], index)
            self._wanted.append((file, wanted))
        return names


def _by_file(
    names: Sequence[str] | Mapping[str, str], files: Mapping[str, str]
) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(files[name], []).append(name)
    return parts


def _checked(where: str, names: list[str]) -> list[str]:
    if len(names) > MOST_TENSORS:
        raise CatalogError(
            f"{where} has {len(names):,} tensors; at most {MOST_TENSORS:,} are read of one "
            "network. Read some of them: --tensors GLOB"
        )
    return names


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
