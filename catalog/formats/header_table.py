"""Table of the text in the headers of safetensors files, with typed columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from catalog.formats.csv_table import CsvTable, typed_columns
from catalog.formats.safetensors_file import read_header

_ABSENT = ("", "None", "null")


def header_table(source: Path, files: Sequence[Path]) -> CsvTable:
    """Read the header texts of files as a table with one row per file.

    All values of a column decide its type. The entry ``format``, which names the library
    that wrote the file, is left out.

    Raises
    ------
    CatalogError
        If a file is not a safetensors file; the error names the file.
    """
    texts = [read_header(path).metadata for path in files]
    names = dict.fromkeys(name for text in texts for name in text if name != "format")
    columns = {name: [_present(text.get(name)) for text in texts] for name in names}
    table = pa.table({k: pa.array(v, pa.string()) for k, v in columns.items()})
    return CsvTable(source, typed_columns(table))


def _present(text: str | None) -> str | None:
    return None if text in _ABSENT else text
