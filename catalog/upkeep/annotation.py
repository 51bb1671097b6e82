"""Annotation of checkpoints in a catalogue with the columns of a table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from catalog.catalog import Catalog, arrow_table
from catalog.errors import CatalogError, NotFound
from catalog.formats.csv_table import read_csv
from catalog.index.tables import connect
from catalog.quoting import identifier


@dataclass(frozen=True)
class Annotation:
    """Result of `annotate`.

    Attributes
    ----------
    columns : list of str
        Result columns of the table.
    checkpoints : int
        Number of checkpoints that got values.
    shard : str
        Name of the measures shard.
    """

    columns: list[str]
    checkpoints: int
    shard: str


def annotate(catalog: Catalog, path: Path, name: str) -> Annotation:
    """Commit a CSV or Parquet table as measures of known checkpoints.

    Parameters
    ----------
    catalog : Catalog
        Catalogue to add the columns to.
    path : Path
        Table with ``run_id``, ``step`` and result columns. Without ``step``, a row is for
        every checkpoint of its run. In place of ``run_id`` the table may have
        ``source_name``, the name in the import source, and ``zoo`` if several zoos have
        that name. Cells of a CSV file are typed as in an import: ``007`` and dates stay
        text.
    name : str
        Name of the method that computed the columns. It is stored, with the file's name
        and sha256 as provenance.

    Raises
    ------
    CatalogError
        If the file cannot be read, a row names several runs, or a column may not be a
        measure.
    NotFound
        If a row names no checkpoint of the catalogue.
    """
    table = _read(path)
    keys = _keys(path, table)
    rows = _resolved(catalog, path, table.select(keys))
    columns = [name for name in table.column_names if name not in keys]
    _check_types(catalog, path, table.select(columns))
    values = {name: _measured(table[name]).take(rows["at"]) for name in columns}
    result = pa.table({"run_id": rows["run_id"], "step": rows["step"], **values})
    with catalog.writer() as writer:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        provenance = {"file": path.name, "sha256": digest}
        manifest = writer.commit_measures(result, name, provenance)
    return Annotation(columns, len(result), manifest.shard)


def _keys(path: Path, table: pa.Table) -> list[str]:
    """Return the columns of a table that name checkpoints."""
    names = table.column_names
    if "run_id" in names:
        return [name for name in ("run_id", "step") if name in names]
    if "source_name" in names:
        return [name for name in ("source_name", "zoo", "step") if name in names]
    raise CatalogError(
        f"{path} has no column 'run_id' or 'source_name'. Its columns: {', '.join(names)}."
    )


def _resolved(catalog: Catalog, path: Path, keys: pa.Table) -> pa.Table:
    """Return the row number (``at``), run_id and step of every checkpoint named."""
    names = keys.column_names
    listed = ", ".join(map(identifier, dict.fromkeys(["run_id", "step", *names])))
    known = arrow_table(catalog.sql(f"SELECT {listed} FROM models"))
    numbered_keys = keys.append_column("at", pa.array(range(len(keys)), pa.int64()))
    condition = " AND ".join(f"g.{name} = k.{name}" for name in map(identifier, names))
    with connect() as connection:
        connection.register("known", known)
        connection.register("given", numbered_keys)
        matches = connection.sql(
            "SELECT g.at, k.run_id, k.step FROM given g "
            f"LEFT JOIN known k ON {condition} ORDER BY g.at, k.run_id, k.step"
        ).to_arrow_table()
    unknown = matches.filter(pc.is_null(matches["run_id"]))["at"]
    if len(unknown):
        first = keys.slice(unknown[0].as_py(), 1).to_pylist()[0]
        raise NotFound(
            f"{len(unknown)} of {len(keys)} rows of {path} match no checkpoint of this "
            f"catalogue, e.g. {first}. Nothing was added. The checkpoints: phasezoo sql "
            '"SELECT zoo, run_id, source_name, step FROM models"'
        )
    runs = matches.group_by("at").aggregate([("run_id", "count_distinct")])
    ambiguous = runs.filter(pc.greater(runs["run_id_count_distinct"], 1))
    if len(ambiguous):
        first = keys.slice(pc.min(ambiguous["at"]).as_py(), 1).to_pylist()[0]
        needed = "run_id" if "zoo" in names else "zoo or run_id"
        raise CatalogError(
            f"{len(ambiguous)} of {len(keys)} rows of {path} name several runs, e.g. "
            f"{first}. Add a column {needed} that tells them apart. Nothing was added."
        )
    return matches


def _check_types(catalog: Catalog, path: Path, table: pa.Table) -> None:
    """Check that no column mixes numbers and text with `models`, where all would be text.

    Raises
    ------
    CatalogError
        If there is such a column; the error shows an offending value.
    """
    known = catalog.sql("FROM models").limit(0).to_arrow_table().schema
    models_types = {field.name.lower(): field.type for field in known}
    for name in table.column_names:
        models_type, table_type = models_types.get(name.lower()), table[name].type
        if (
            models_type is None
            or _is_empty(table[name])
            or is_number(models_type) == is_number(table_type)
        ):
            continue
        first = next(value for value in table[name].to_pylist() if value is not None)
        if pa.types.is_string(table_type):
            texts = (v for v in table[name].to_pylist() if v and not _numeric(v))
            first = next(texts, first)  # 007 is text too, but a poor example
        holds = "numbers" if is_number(models_type) else "text"
        raise CatalogError(
            f"{name!r} holds {holds} in models, but {first!r} in {path}. Nothing was "
            "added. Leave cells without a value empty, or rename the column."
        )


def is_number(kind: pa.DataType) -> bool:
    """Return whether a type is numeric or boolean."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _measured(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values with a type: an empty column has none, but a measure needs one."""
    return pa.nulls(len(values), pa.float64()) if _is_empty(values) else values


def _is_empty(values: pa.ChunkedArray) -> bool:
    empty: bool = values.null_count == len(values)
    return empty


def _read(path: Path) -> pa.Table:
    """Read a table with keys as text and steps as whole numbers."""
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path.absolute(), partitioning=None)
            texts = table
        else:
            table = read_csv(path).table
            # Keys such as 12e4 were parsed as numbers, which loses their spelling.
            texts = _texts(
                path, [name for name in _KEYS_AS_TEXT if name in table.column_names]
            )
        for name in _KEYS_AS_TEXT:
            if name in table.column_names:
                table = _with(table, name, texts[name].cast(pa.string()))
    except (OSError, pa.ArrowException, UnicodeError) as error:
        if isinstance(error, CatalogError):
            raise
        raise CatalogError(
            f"{path} is not a readable CSV or Parquet table: {error}"
        ) from error
    if "step" not in table.column_names:
        return table
    try:
        steps = table["step"].cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise CatalogError(
            f"{path}: column 'step' must hold whole numbers: {error}"
        ) from error
    if steps.null_count:
        raise CatalogError(
            f"{path}: {steps.null_count} of {len(steps)} rows have no step. Fill in all "
            "steps, or leave the column out: a row is then for every checkpoint of its run."
        )
    return _with(table, "step", steps)


_KEYS_AS_TEXT = ("run_id", "source_name", "zoo")


def _texts(path: Path, names: list[str]) -> pa.Table:
    """Read columns of a CSV file as text, without surrounding white space."""
    if not names:
        return pa.table({})
    table = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=names,
            strings_can_be_null=True,
            null_values=[""],
        ),
    )
    columns = [pc.utf8_trim_whitespace(table[name]) for name in names]
    return pa.table(columns, names=names)


def _with(table: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)
