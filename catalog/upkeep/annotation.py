"""Columns from a table that somebody made, for checkpoints that are in the catalogue."""

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
        checkpoint of its run. In place of ``run_id``: ``source_name``, the name in what
        was imported, and ``zoo`` where several zoos have it. Cells of a csv are typed as
        in an import: ``007`` and dates stay text.
    name : str
        What computed the columns; kept with the file's sha256 as provenance.

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
    """Columns of a table that name checkpoints."""
    names = table.column_names
    if "run_id" in names:
        return [name for name in ("run_id", "step") if name in names]
    if "source_name" in names:
        return [name for name in ("source_name", "zoo", "step") if name in names]
    raise CatalogError(
        f"{path} has no column 'run_id', nor 'source_name'. It has: {', '.join(names)}."
    )


def _resolved(catalog: Catalog, path: Path, keys: pa.Table) -> pa.Table:
    """Row of the table (``at``), run_id and step of every checkpoint that it names."""
    names = keys.column_names
    listed = ", ".join(map(identifier, dict.fromkeys(["run_id", "step", *names])))
    known = arrow_table(catalog.sql(f"SELECT {listed} FROM models"))
    given = keys.append_column("at", pa.array(range(len(keys)), pa.int64()))
    same = " AND ".join(f"g.{name} = k.{name}" for name in map(identifier, names))
    with connect() as connection:
        connection.register("known", known)
        connection.register("given", given)
        found = connection.sql(
            "SELECT g.at, k.run_id, k.step FROM given g "
            f"LEFT JOIN known k ON {same} ORDER BY g.at, k.run_id, k.step"
        ).to_arrow_table()
    unknown = found.filter(pc.is_null(found["run_id"]))["at"]
    if len(unknown):
        first = keys.slice(unknown[0].as_py(), 1).to_pylist()[0]
        raise NotFound(
            f"{len(unknown)} of {len(keys)} rows of {path} name no checkpoint of this "
            f"catalogue, e.g. {first}. Nothing was added."
        )
    runs = found.group_by("at").aggregate([("run_id", "count_distinct")])
    several = runs.filter(pc.greater(runs["run_id_count_distinct"], 1))
    if len(several):
        first = keys.slice(pc.min(several["at"]).as_py(), 1).to_pylist()[0]
        more = "run_id" if "zoo" in names else "zoo or run_id"
        raise CatalogError(
            f"{len(several)} of {len(keys)} rows of {path} name several runs, e.g. "
            f"{first}. Add a column {more} that says which. Nothing was added."
        )
    return found


def _check_types(catalog: Catalog, path: Path, table: pa.Table) -> None:
    """Refuse text for what holds numbers so far: it would become text for all.

    Raises
    ------
    CatalogError
        If there is such a column, with the first text that is no number.
    """
    known = catalog.sql("FROM models").limit(0).to_arrow_table().schema
    kinds = {field.name.lower(): field.type for field in known}
    for name in table.column_names:
        kind, given = kinds.get(name.lower()), table[name].type
        if kind is None or _is_empty(table[name]) or is_number(kind) == is_number(given):
            continue
        first = next(value for value in table[name].to_pylist() if value is not None)
        if pa.types.is_string(given):
            texts = (v for v in table[name].to_pylist() if v and not _numeric(v))
            first = next(texts, first)  # 007 is text, too
        holds = "numbers" if is_number(kind) else "text"
        raise CatalogError(
            f"{name!r} holds {holds} in models, and {first!r} in {path}. Nothing was "
            "added. Leave a cell empty where there is no value, or call the column "
            "otherwise."
        )


def is_number(kind: pa.DataType) -> bool:
    """Tell if values of a type are numbers, or true and false."""
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
    """An empty column has no type of its own; a measure needs one."""
    return pa.nulls(len(values), pa.float64()) if _is_empty(values) else values


def _is_empty(values: pa.ChunkedArray) -> bool:
    empty: bool = values.null_count == len(values)
    return empty


def _read(path: Path) -> pa.Table:
    """A table whose keys are text and whose steps are whole numbers."""
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path.absolute(), partitioning=None)
            texts = table
        else:
            table = read_csv(path).table
            # Names of digits alone came as numbers: 12e4 would lose what it was.
            texts = _texts(path, [name for name in _TEXTS if name in table.column_names])
        for name in _TEXTS:
            if name in table.column_names:
                table = _with(table, name, texts[name].cast(pa.string()))
    except (OSError, pa.ArrowException, UnicodeError) as error:
        if isinstance(error, CatalogError):
            raise
        raise CatalogError(
            f"{path} is no readable csv or Parquet table: {error}"
        ) from error
    if "step" not in table.column_names:
        return table
    try:
        steps = table["step"].cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise CatalogError(
            f"{path}: its steps do not fit; they must be whole numbers: {error}"
        ) from error
    if steps.null_count:
        raise CatalogError(
            f"{path}: {steps.null_count} of {len(steps)} rows have no step. Fill them, or "
            "leave the column out: a row is then for every checkpoint of its run."
        )
    return _with(table, "step", steps)


_TEXTS = ("run_id", "source_name", "zoo")


def _texts(path: Path, names: list[str]) -> pa.Table:
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
