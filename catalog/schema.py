"""Documented columns of the metadata tables: type, unit and meaning.

Tables may have further columns, such as the hyper-parameters of a foreign zoo; these free
columns keep their name and type. `phasezoo schema` prints all columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from catalog.errors import CatalogError
from catalog.names import RESERVED

PARENTS = pa.list_(
    pa.struct([("run_id", pa.string()), ("step", pa.int64()), ("role", pa.string())])
)
_TEXT, _INT, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()


@dataclass(frozen=True)
class Column:
    """One documented column."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str


RUNS = (
    Column("run_id", _TEXT, "hex", "hash of the resolved configuration, or of the source"),
    Column("zoo", _TEXT, "name", "recipe or foreign zoo that the run belongs to"),
    Column("source", _TEXT, "word", "trained, imported, derived or generated"),
    Column("source_name", _TEXT, "name", "name in the foreign source, null if trained"),
    Column("license", _TEXT, "SPDX", "licence of the weights, null if none is stated"),
    Column("parents", PARENTS, "runs", "checkpoints that the run was derived from"),
    Column("architecture_name", _TEXT, "name", "network family"),
    Column(
        "architecture", _TEXT, "JSON", "arguments with which zoo.build makes the network"
    ),
    Column(
        "arch_id", _TEXT, "slug", "id of layout and architecture: folder of the weights"
    ),
    Column("parameters", _INT, "values", "length of the weight vector"),
    Column("task_name", _TEXT, "name", "data set"),
    Column("task", _TEXT, "JSON", "task of the run: classes, labels, transform"),
    Column("data_fingerprint", _TEXT, "hex", "hash of the data and its split"),
    Column("load_axis", _TEXT, "column", "column that is the load axis of the zoo's grid"),
    Column("load", _REAL, "of its axis", "position on the load axis"),
    Column("temperature_axis", _TEXT, "column", "column that is the temperature axis"),
    Column("temperature", _REAL, "of its axis", "position on the temperature axis"),
    Column("cell", _TEXT, "name", "one (load, temperature) point of the zoo's grid"),
    Column("seed", _INT, "-", "seed of every random draw of the run"),
    Column("width", _INT, "units", "units per hidden layer, or channels of the first one"),
    Column("batch_size", _INT, "samples", "samples per step"),
    Column("optimizer", _TEXT, "name", "sgd, adam or adamw"),
    Column("schedule", _TEXT, "name", "constant, linear, cosine or one_cycle"),
    Column("lr", _REAL, "per step", "peak learning rate"),
    Column("momentum", _REAL, "-", "momentum, or Adam's beta_1"),
    Column("weight_decay", _REAL, "per step", "weight decay"),
    Column("label_noise", _REAL, "fraction", "training labels replaced by another class"),
    Column("init_scale", _REAL, "factor", "factor on the initial weights"),
    Column("train_samples", _INT, "samples", "size of the run's training set"),
    Column("steps", _INT, "steps", "optimiser steps of the complete run"),
    Column("status", _TEXT, "word", "finished or diverged"),
    Column("diverged_step", _INT, "steps", "first step with a non-finite loss, or null"),
    Column("config", _TEXT, "JSON", "resolved configuration: the input of the run_id hash"),
    Column("code_version", _TEXT, "version", "version of phasezoo that trained the run"),
    Column("engine", _TEXT, "text", "device, library and stack: not part of run_id"),
    Column("created", _TEXT, "UTC", "end of the run"),
    Column("split_by_run", _TEXT, "word", "train, validation, test (70/15/15), or mixed"),
    Column("split_by_cell", _TEXT, "word", "split that all runs of a cell share"),
    Column("split_by_zoo", _TEXT, "word", "split that all runs of a zoo share"),
)

CHECKPOINTS = (
    Column("run_id", _TEXT, "hex", "run of the checkpoint"),
    Column("step", _INT, "steps", "optimiser steps taken"),
    Column("epoch", _REAL, "epochs", "passes over the run's own training samples"),
    Column(
        "train_loss",
        _REAL,
        "nats",
        "mean loss on training samples: cross-entropy, or a PDE's squared terms",
    ),
    Column("train_accuracy", _REAL, "fraction", "accuracy on the same training samples"),
    Column("train_evaluated", _INT, "samples", "number of training samples evaluated"),
    Column("validation_loss", _REAL, "nats", "mean loss on the validation split"),
    Column("validation_accuracy", _REAL, "fraction", "accuracy on the validation split"),
    Column("test_loss", _REAL, "nats", "mean loss on the test split"),
    Column("test_accuracy", _REAL, "fraction", "accuracy on the test split"),
    Column("content", _TEXT, "hex", "hash of a foreign network's tensors, or null"),
    Column("finite", _FLAG, "-", "true if every weight is finite"),
    Column("shard", _TEXT, "name", "shard that holds the checkpoint"),
    Column("row", _INT, "-", "row in the weights of the shard, null without weights"),
)

HUB_RUNS = (
    Column("hub_model", _TEXT, "name", "model of the Hub that the weights were read from"),
    Column("hub_file", _TEXT, "path", "file of the weights, or the index of the files"),
    Column("hub_tensors", _TEXT, "JSON", "patterns of the tensors read, null for all"),
    Column("base_model", _TEXT, "names", "models it was made from, as its card states"),
    Column("base_model_relation", _TEXT, "word", "finetune, adapter, quantized or merge"),
    Column("tags", _TEXT, "JSON", "list of the tags of the model"),
)
HUB_CHECKPOINTS = (
    Column("hub_commit", _TEXT, "hex", "commit of the model that was read"),
    Column("downloads", _INT, "downloads", "downloads in the 30 days before the import"),
)
"""Columns of networks from the Hub, in addition to `RUNS` and `CHECKPOINTS`.

Unlike these, they are absent from catalogues without such networks.
"""

MEASURES = (
    Column(
        "phase", _TEXT, "name", "I, II, III, IV-A, IV-B or unmeasured, of cell and step"
    ),
    Column("phase_reason", _TEXT, "text", "reason for unmeasured, else empty"),
    Column("phase_confidence", _REAL, "share", "soft score of the assigned phase"),
    Column("phase_distance", _REAL, "uncertainties", "signed distance to nearest boundary"),
    Column(
        "phase_stability", _REAL, "share", "random draws of the metrics with this phase"
    ),
    Column("phase_score_i", _REAL, "share", "soft score of I, under-fitted, under-sized"),
    Column("phase_score_ii", _REAL, "share", "soft score of II, under-fitted"),
    Column("phase_score_iii", _REAL, "share", "soft score of III, under-sized"),
    Column("phase_score_iv_a", _REAL, "share", "soft score of IV-A, over-fitted"),
    Column("phase_score_iv_b", _REAL, "share", "soft score of IV-B, generalising"),
)
"""Measures that `models` always has, null where nothing was measured.

A column of the same name in the runs or checkpoints of a zoo replaces the measure.
"""

TENSORS = (
    Column("arch_id", _TEXT, "slug", "architecture that has the tensor"),
    Column("position", _INT, "-", "position in the layout"),
    Column("tensor", _TEXT, "name", "name in the state dict"),
    Column("column_name", _TEXT, "name", "escaped name: the column of the shard"),
    Column("shape", pa.list_(_INT), "-", "size of each axis"),
    Column("axes", pa.list_(_TEXT), "-", "permutation symbol of each axis, or null"),
    Column("dtype", _TEXT, "name", "source dtype"),
    Column("role", _TEXT, "word", "parameter, buffer, counter or constant"),
    Column("size", _INT, "values", "number of values"),
)

TENSOR_STATS = (
    Column("shard", _TEXT, "name", "shard that holds the tensor"),
    Column("row", _INT, "-", "row in the weights of the shard"),
    Column("tensor", _TEXT, "name", "name of the tensor"),
    Column("blake3", pa.binary(32), "bytes", "hash of the tensor's stored bytes"),
    Column("l2", _REAL, "-", "Euclidean norm of the values"),
    Column("mean", _REAL, "-", "mean of the values"),
    Column("std", _REAL, "-", "population standard deviation (divisor: number of values)"),
    Column("min", _REAL, "-", "smallest value"),
    Column("max", _REAL, "-", "largest value"),
    Column("nonfinite", _INT, "values", "number of values that are NaN or infinite"),
)

CHUNKS = (
    Column("shard", _TEXT, "name", "shard that holds the chunk"),
    Column("tensor", _TEXT, "name", "name of the tensor"),
    Column("first_row", _INT, "-", "first row of the row group"),
    Column("rows", _INT, "-", "number of rows of the row group"),
    Column("offset", _INT, "bytes", "position of the values in the file"),
    Column("row_bytes", _INT, "bytes", "size of the values of one row"),
)

SHARDS = (
    Column("shard", _TEXT, "name", "name of the shard"),
    Column("content", _TEXT, "word", "weights, metrics, measures, tombstones or pack"),
    Column("sequence", _INT, "-", "place in the order of commits"),
    Column("created", _TEXT, "UTC", "time of the commit"),
    Column("writer", _TEXT, "version", "program and version that wrote the shard"),
    Column("arch_id", _TEXT, "slug", "architecture of the weights"),
    Column("layout_id", _TEXT, "hex", "layout of the weights"),
    Column("path", _TEXT, "path", "main file, relative to the catalogue"),
    Column("rows", _INT, "rows", "number of rows of the main file"),
    Column("bytes", _INT, "bytes", "size of the main file"),
    Column("sha256", _TEXT, "hex", "digest of the main file"),
    Column("partial", _TEXT, "name", "shard elsewhere that it is a part of, else null"),
)

TABLES = {
    "runs": RUNS,
    "checkpoints": CHECKPOINTS,
    "tensors": TENSORS,
    "tensor_stats": TENSOR_STATS,
    "chunks": CHUNKS,
    "shards": SHARDS,
}

_FREE = (pa.string(), pa.int64(), pa.float64(), pa.bool_())


def empty(table: str) -> pa.Table:
    """Return a table with the documented columns and no rows."""
    return pa.schema([(c.name, c.type) for c in TABLES[table]]).empty_table()


def conform(table: pa.Table, name: str, required: tuple[str, ...]) -> pa.Table:
    """Bring a table to the schema: documented columns first, cast to their types.

    Absent documented columns are filled with null; free columns follow unchanged.

    Raises
    ------
    CatalogError
        If a required column is absent or null, a documented column has the wrong type,
        a free column has a type outside string, int64, float64 and bool, or a name of a
        column is refused by `check_columns`.
    """
    check_columns(table.column_names, name, {column.name for column in TABLES[name]})
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    for column in TABLES[name]:
        if column.name in table.column_names:
            columns[column.name] = cast(table[column.name], column, name)
        else:
            columns[column.name] = pa.nulls(len(table), column.type)
    for column_name in required:
        nulls = columns[column_name].null_count
        if nulls:
            raise CatalogError(
                f"{nulls} of {len(table)} rows of {name} have no {column_name!r}, which "
                "every row needs."
            )
    for column_name in table.column_names:
        if column_name in columns:
            continue
        values = table[column_name]
        if values.type not in _FREE:
            types = ", ".join(str(kind) for kind in _FREE)
            raise CatalogError(
                f"Column {column_name!r} of {name} is {values.type}; a free column "
                f"must be one of {types}."
            )
        columns[column_name] = values
    return pa.table(columns)


def check_columns(names: list[str], table: str, documented: set[str]) -> None:
    """Check that SQL can distinguish the columns of a table and the documented columns.

    Raises
    ------
    CatalogError
        If a name is empty, is not printable, starts with the reserved prefix, or
        differs from another name only in case.
    """
    lower = [name.lower() for name in names]
    lower += [name for name in documented if name not in names]
    for name in names:
        if not name or not name.isprintable():
            raise CatalogError(f"Column {name!r} of {table} has no printable name.")
        if lower.count(name.lower()) > 1:
            raise CatalogError(
                f"Two columns of {table} are called {name!r} in SQL, which ignores case. "
                "Rename one of them."
            )
        if name.lower().startswith(RESERVED):
            raise CatalogError(
                f"Column {name!r} of {table} starts with the reserved {RESERVED!r}; "
                "rename it."
            )


def cast(values: pa.ChunkedArray, column: Column, table: str) -> pa.ChunkedArray:
    """Cast values to the type of a documented column.

    Raises
    ------
    CatalogError
        If a value cannot be represented in that type.
    """
    try:
        return values.cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise CatalogError(
            f"Column {column.name!r} of {table} must be {column.type}. "
            f"Got {values.type}: {error}"
        ) from error
