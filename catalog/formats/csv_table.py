"""Reading of published csv files as typed columns.

All cells of a column decide its type: int64, float64, bool or string. An empty cell is
null. Numbers that a conversion would change (leading zeros, integers of more than 18
digits) stay text.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from csv import Error as CsvError
from csv import reader as csv_rows
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from catalog.errors import CatalogError
from catalog.formats.expansion import check_expansion
from catalog.formats.format import Scalar

_INT = r"^-?(0|[1-9][0-9]{0,17})$"
_FLOAT = r"^-?((0|[1-9][0-9]{0,14})(\.[0-9]*)?|\.[0-9]+|(0|[1-9][0-9]*)\.[0-9]+)"
_KINDS = (
    (_INT, pa.int64()),
    (_FLOAT + r"([eE][+-]?[0-9]+)?$|^-?(?i:inf|infinity|nan)$", pa.float64()),
    (r"^(?i:true|false)$", pa.bool_()),
)


@dataclass(frozen=True)
class CsvTable:
    """Rows of one csv file.

    Attributes
    ----------
    path : Path
        The file, which errors name.
    table : pyarrow.Table
        Columns of int64, float64, bool or string.
    text : pyarrow.Table, optional
        The same cells as text, verbatim as in the file.
    """

    path: Path
    table: pa.Table = field(repr=False)
    text: pa.Table | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[dict[str, Scalar]]:
        for batch in self.table.to_batches(max_chunksize=1024):
            yield from batch.to_pylist()

    @property
    def columns(self) -> list[str]:
        """Column names in the order of the file."""
        return list(self.table.column_names)

    def row(self, i: int) -> dict[str, Scalar]:
        """Return the values of row i by column."""
        return {name: self.table[name][i].as_py() for name in self.table.column_names}

    def cells(self, column: str) -> list[str | None]:
        """Return a column as text, verbatim as in the file if the text is known."""
        text = (self.table if self.text is None else self.text)[column].cast(pa.string())
        stripped: list[str | None] = pc.utf8_trim_whitespace(text).to_pylist()
        return stripped

    def keyed(self, column: str, *, verbatim: bool = False) -> dict[str, int]:
        """Return row numbers by the text of a column.

        Parameters
        ----------
        column : str
            Name of the column.
        verbatim : bool, default=False
            Use the text of the file; otherwise the number 0.10 becomes the text 0.1.

        Raises
        ------
        CatalogError
            If the column does not exist, or a cell is empty or occurs twice.
        """
        if column not in self.table.column_names:
            raise CatalogError(
                f"{self.path} has no column {column!r}; its columns are "
                f"{', '.join(self.columns)}."
            )
        typed_cells = self.table[column].cast(pa.string()).to_pylist()
        rows: dict[str, int] = {}
        for i, value in enumerate(self.cells(column) if verbatim else typed_cells):
            if not value:
                raise CatalogError(f"{self.path}, row {i + 1}: {column!r} is empty.")
            if value in rows:
                raise CatalogError(
                    f"{self.path}, rows {rows[value] + 1} and {i + 1}: both have "
                    f"{column} = {value!r}; every network must have one row."
                )
            rows[value] = i
        return rows


def read_csv(path: Path) -> CsvTable:
    """Read a csv file, gzipped or not, with typed columns.

    Raises
    ------
    CatalogError
        If the file is missing or damaged, or two columns have the same name.
    """
    try:
        names = csv_header(path)
        check_expansion(path)
        table = csv.read_csv(
            path,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
        return CsvTable(path, typed_columns(table), table)
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise CatalogError(f"{path} cannot be read as a csv table: {error}") from error


def csv_header(path: Path) -> list[str]:
    """Read the column names of a csv; an index column without a name has an empty name.

    Raises
    ------
    CatalogError
        If two columns have the same name.
    """
    with pa.input_stream(path) as stream:
        start = codecs.getincrementaldecoder("utf-8-sig")().decode(stream.read(1 << 16))
    rows = csv_rows(io.StringIO(start, newline=""))  # a quoted name may hold line breaks
    try:
        names = next((row for row in rows if row), [])
    except CsvError as error:
        raise CatalogError(f"{path} cannot be read as a csv table: {error}") from error
    for name in names:
        if names.count(name) > 1:
            raise CatalogError(
                f"{path} has two columns called {name!r}; rename one of them."
            )
    return names


def typed_columns(table: pa.Table) -> pa.Table:
    """Convert columns of text to the narrowest type that fits all of their cells."""
    columns = [_typed(table[name].combine_chunks()) for name in table.column_names]
    return pa.table(columns, names=table.column_names)


def _typed(values: pa.Array) -> pa.Array:
    text = pc.utf8_trim_whitespace(values)
    present = text.drop_null()
    for pattern, kind in _KINDS:
        if len(present) and pc.all(pc.match_substring_regex(present, pattern)).as_py():
            return text.cast(kind)
    return text
