"""Columns from a table that somebody made, for checkpoints that are in the catalogue."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from catalog.catalog import Catalog, arrow_table
from catalog.errors import CatalogError, NotFound


@dataclass(frozen=True)
class Annotation:
    """What `annotate` committed.

    Attributes
    ----------
    columns : list of str
        New columns of `models`.
    checkpoints : int
        Checkpoints that have a row.
    shard : str
        The measures shard.
    """

    columns: list[str]
    checkpoints: int
    shard: str


def annotate(catalog: Catalog, path: Path, name: str) -> Annotation:
    """Commit a csv or Parquet table as measures of known checkpoints.

    Parameters
    ----------
    path : Path
        ``run_id``, ``step`` and result columns. Without ``step``, a row is for every
        checkpoint of its run.
    name : str
        What computed the columns; kept with the file's sha256 as provenance.

    Raises
    ------
    CatalogError
        If the file cannot be read, or a column may not be a measure.
    NotFound
        If a row names no checkpoint of the catalogue.
    """
    table = _read(path)
    if "run_id" not in table.column_names:
        raise CatalogError(
            f"{path} has no column 'run_id'. It has: {', '.join(table.column_names)}."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    keys = ["run_id", "step"] if "step" in table.column_names else ["run_id"]
    points = arrow_table(catalog.sql("SELECT run_id, step FROM models"))
    try:
        table = table.set_column(
            table.column_names.index("run_id"), "run_id", table["run_id"].cast(pa.string())
        )
        unknown = table.join(points, keys, join_type="left anti")
        joined = table.join(points, keys, join_type="inner")
    except pa.ArrowInvalid as error:
        raise CatalogError(f"{path}: run_id and step do not fit: {error}") from error
    if len(unknown):
        first = {key: unknown[key][0].as_py() for key in keys}
        raise NotFound(
            f"{len(unknown)} of {len(table)} rows of {path} name no checkpoint of this "
            f"catalogue, e.g. {first}. Nothing was added."
        )
    columns = [c for c in table.column_names if c not in ("run_id", "step")]
    plain = {
        c: joined[c].cast(pa.float64()) if pa.types.is_null(joined[c].type) else joined[c]
        for c in columns
    }
    result = pa.table({"run_id": joined["run_id"], "step": joined["step"], **plain})
    with catalog.writer() as writer:
        provenance = {"file": path.name, "sha256": digest}
        manifest = writer.commit_measures(result, name, provenance)
    return Annotation(columns, len(result), manifest.shard)


def _read(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path, partitioning=None)
        table = pyarrow.csv.read_csv(path)
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise CatalogError(
            f"{path} is no readable csv or Parquet table: {error}"
        ) from error
    # Hexadecimal run_ids of digits alone would come as numbers and lose their zeros.
    options = pyarrow.csv.ConvertOptions(column_types={"run_id": pa.string()})
    if "run_id" in table.column_names:
        table = pyarrow.csv.read_csv(path, convert_options=options)
    return table
