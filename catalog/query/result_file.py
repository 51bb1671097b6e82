"""Atomic writing of answers to CSV, Parquet or JSON files through Arrow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from catalog.console.plain_values import plain
from catalog.errors import CatalogError, NotFound
from catalog.query.answer import Answer
from catalog.query.refusal import sql_error
from catalog.quoting import identifier
from catalog.storage.whole_file import check_free, folder_of, whole_file

BATCH = 100_000
"""Number of rows in memory at a time."""

_INSTEAD = "name another file with --to FILE"
_IN_CSV = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT",
    "UINTEGER", "UBIGINT", "FLOAT", "DOUBLE", "VARCHAR",
)  # fmt: skip
"""Types that pyarrow writes like DuckDB; other types are cast to DuckDB's text."""

Write = Callable[[Answer, BinaryIO], int]


def result_path(path: str | Path, *, force: bool = False) -> Path:
    """Check that an answer can be written to a path, before the query is run.

    Parameters
    ----------
    path : str or Path
        File to write, with the ending .csv, .parquet or .json.
    force : bool, default=False
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    NotFound
        If the ending is none of these.
    CatalogError
        If the file exists and may not be replaced, or is a folder or part of a catalogue.
    """
    path = Path(path)
    if path.suffix.lower() not in _WRITERS:
        endings = ", ".join(_WRITERS)
        raise NotFound(
            f"{path} has no known file type. Expected a name that ends in {endings}."
        )
    check_free(path, force=force)
    return path


def write_result(relation: Answer, path: Path) -> int:
    """Write an answer to a file that `result_path` has checked, and return its row count.

    Raises
    ------
    CatalogError
        If the query fails, or a value or the file cannot be written.
    """
    write = _WRITERS[path.suffix.lower()]
    try:
        folder_of(path, instead=_INSTEAD)
        with whole_file(path, instead=_INSTEAD) as file:
            # The limit makes DuckDB rename duplicate columns.
            return write(relation.limit(1 << 60), file)
    except duckdb.Error as error:
        raise sql_error(error) from error
    except pa.ArrowException as error:
        raise CatalogError(
            f"{path} cannot hold this answer: {error}. Turn the column into text with "
            "CAST(column AS VARCHAR), or write a .json file."
        ) from error


def _write_csv(relation: Answer, file: BinaryIO) -> int:
    columns = [
        name if str(kind) in _IN_CSV else f"CAST({name} AS VARCHAR) AS {name}"
        for name, kind in zip(
            map(identifier, relation.columns), relation.types, strict=True
        )
    ]
    schema, batches = _read(relation.project(", ".join(columns)))
    count = 0
    with pyarrow.csv.CSVWriter(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            count += len(batch)
    return count


def _write_parquet(relation: Answer, file: BinaryIO) -> int:
    schema, batches = _read(relation)
    count = 0
    with pq.ParquetWriter(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            count += len(batch)
    return count


def _write_json(relation: Answer, file: BinaryIO) -> int:
    count = 0
    file.write(b"[")
    answer, read = relation.as_text()
    for batch in _read(answer)[1]:
        for row in batch.to_pylist():
            text = json.dumps(plain(read(row)), ensure_ascii=False, default=str)
            file.write((",\n" if count else "\n").encode() + text.encode())
            count += 1
    file.write(b"\n]\n")
    return count


def _read(
    relation: Answer,
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Run a query, and report its errors as SQL errors, not as errors of the file."""
    reader = relation.to_arrow_reader(BATCH)

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except OSError as error:
            raise sql_error(error) from error

    return reader.schema, batches()


_WRITERS: dict[str, Write] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".json": _write_json,
}
