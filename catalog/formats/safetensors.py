"""One network per .safetensors file, alone or in a folder tree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from catalog.csv_table import CsvTable, typed
from catalog.errors import CatalogError
from catalog.foreign import Network
from catalog.formats.lora import lora
from catalog.formats.source import (
    files_of,
    network,
    network_name,
    rows_by_name,
    table_beside,
)
from catalog.safetensors_file import read_header, read_tensors


class Safetensors:
    """Text in the header's metadata becomes columns; ``format`` is the writer's mark.

    Tensors come in the order in which they stand in the file: the order of the state
    dict is not kept by most writers.
    """

    name = "safetensors"
    summary = "one .safetensors per network; columns from its header, or a csv"

    def recognises(self, source: Path) -> bool:
        """Whether it is, or holds, such files."""
        return bool(files_of(source, ".safetensors")) and not lora.recognises(source)

    def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
        """Networks in order of path; see `Format.read`."""
        found = files_of(source, ".safetensors")
        if not found:
            raise CatalogError(f"{source} holds no .safetensors file.")
        files = {network_name(source, path): path for path in found}
        beside = table_beside(source, metadata)
        rows = rows_by_name(beside, list(files)) if beside else {}
        headers = _header_table(source, found)
        for i, (name, path) in enumerate(files.items()):
            row = headers.row(i)
            if beside:
                own = beside.row(rows[name])
                if both := row.keys() & own.keys():
                    raise CatalogError(
                        f"{path}: its header and {beside.path} both have {sorted(both)}; "
                        "remove them from the table."
                    )
                row |= own
            yield network(name, read_tensors(path), row)


def _header_table(source: Path, files: list[Path]) -> CsvTable:
    """Metadata of all files, each column typed by all of its values."""
    texts = [_texts(path) for path in files]
    names = dict.fromkeys(name for text in texts for name in text)
    columns = {
        name: pa.array([text.get(name) for text in texts], pa.string()) for name in names
    }
    return CsvTable(source, typed(pa.table(columns)))


def _texts(path: Path) -> dict[str, str]:
    metadata = read_header(path).metadata
    return {name: text for name, text in metadata.items() if name != "format"}


FORMAT = Safetensors()
