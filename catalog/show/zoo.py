"""Overview of one zoo: facts, grid, splits, accuracy of the networks, and shards."""

from __future__ import annotations

from typing import Any

import numpy as np

from catalog.catalog import Catalog
from catalog.quoting import identifier
from catalog.rows import Rows, rows_of
from catalog.schema import RUNS
from catalog.show.histogram import Histogram, histogram
from catalog.show.representatives import representatives
from catalog.show.run import described, metric_columns

MOST_VALUES = 12
"""Maximum number of values of a varied column that are listed."""

_ZOO = """
SELECT count(*) AS runs, count(*) FILTER (status = 'diverged') AS diverged,
    count(status) AS stated,
    list(DISTINCT source ORDER BY source) AS sources,
    list_sort(list(DISTINCT coalesce(license, 'not stated'))) AS licenses,
    list(DISTINCT task_name ORDER BY task_name) AS tasks,
    list(DISTINCT architecture_name ORDER BY architecture_name) AS architectures,
    min(parameters) AS fewest_parameters, max(parameters) AS most_parameters,
    min(created) AS first_created, max(created) AS last_created
FROM runs WHERE zoo = :zoo"""

_SIZES = """
SELECT count(*) AS checkpoints, count(m.row) AS checkpoints_with_weights,
    count(DISTINCT m.shard) AS shards, sum(w.bytes)::BIGINT AS weight_bytes
FROM models m LEFT JOIN (SELECT shard, sum(row_bytes) AS bytes FROM chunks
    WHERE first_row = 0 GROUP BY shard) w ON w.shard = m.shard AND m.row IS NOT NULL
WHERE zoo = :zoo"""

_GRID = """
SELECT load_axis, list(DISTINCT load ORDER BY load) AS loads, temperature_axis,
    list(DISTINCT temperature ORDER BY temperature) AS temperatures,
    count(DISTINCT (load, temperature)) AS cells
FROM runs WHERE zoo = :zoo AND load IS NOT NULL AND temperature IS NOT NULL
GROUP BY load_axis, temperature_axis ORDER BY load_axis, temperature_axis"""

_SPLITS = """
SELECT split, count(*) FILTER (unit = 'run') AS by_run,
    count(*) FILTER (unit = 'cell') AS by_cell, count(*) FILTER (unit = 'zoo') AS by_zoo
FROM (SELECT 'run' AS unit, split_by_run AS split FROM runs WHERE zoo = :zoo
    UNION ALL SELECT 'cell', split_by_cell FROM runs WHERE zoo = :zoo
    UNION ALL SELECT 'zoo', split_by_zoo FROM runs WHERE zoo = :zoo)
WHERE split IS NOT NULL GROUP BY split
ORDER BY list_position(['train', 'validation', 'test'], split)"""

_SHARDS = """
SELECT shard, content, arch_id, rows, bytes FROM shards
WHERE shard IN (SELECT shard FROM models WHERE zoo = :zoo) ORDER BY sequence"""

_NOT_VARIED = {
    "run_id", "zoo", "parents", "architecture", "arch_id", "task", "data_fingerprint",
    "load", "temperature", "cell", "diverged_step", "config", "code_version", "engine",
    "created", "split_by_run", "split_by_cell", "split_by_zoo", "source_name",
    "exported_run_id",
}  # fmt: skip

_NAMES = {"id", "name", "path", "file", "model", "network", "index"}
"""Columns that are names of networks, not settings, if no two runs share a value."""

_DOCUMENTED = {column.name for column in RUNS}


def describe_zoo(catalog: Catalog, zoo: str) -> dict[str, Any]:
    """Return a document about a zoo.

    Returns
    -------
    dict
        ``zoo``: counts, sizes, sources, licences; ``grid``: a row per pair of axes,
        empty for a zoo without a grid; ``varied``: columns of `runs` with more than one
        value; ``splits``: number of runs in each split; ``last_checkpoints``: a
        histogram per accuracy, or per loss, or per other metric, over the last
        checkpoint of each run; ``representatives``: representative networks, and
        ``representatives_are``: rule of their choice; ``over_training``: means per step;
        ``shards``: a row each.
    """
    facts = rows_of(catalog, _ZOO, zoo=zoo)[0] | rows_of(catalog, _SIZES, zoo=zoo)[0]
    if not facts.pop("stated"):  # imported without a status: 0 diverged may be wrong
        facts["diverged"] = "not stated"
    chosen, rule = representatives(catalog, zoo)
    return {
        "kind": "zoo",
        "id": zoo,
        "zoo": {k: v for k, v in facts.items() if v not in (None, [], [None])},
        "grid": rows_of(catalog, _GRID, zoo=zoo),
        "varied": varied(catalog, zoo),
        "splits": rows_of(catalog, _SPLITS, zoo=zoo),
        "last_checkpoints": distributions(catalog, zoo),
        "representatives": chosen,
        "representatives_are": rule,
        "over_training": _over_training(catalog, zoo),
        "shards": rows_of(catalog, _SHARDS, zoo=zoo),
    }


def varied(catalog: Catalog, zoo: str) -> Rows:
    """Return a row per column of `runs` that has several values in a zoo.

    At most `MOST_VALUES` values are listed. Columns that are names of the runs are left
    out, because names always vary.
    """
    names = [
        row["column_name"]
        for row in described(catalog, "runs")
        if row["column_name"] not in _NOT_VARIED
    ]
    parts = ", ".join(
        f"count(DISTINCT {q}) AS n{i}, min({q}) AS low{i}, max({q}) AS high{i}, "
        f"(list(DISTINCT {q} ORDER BY {q}))[:{MOST_VALUES}] AS some{i}"
        for i, q in enumerate(map(identifier, names))
    )
    query = f"SELECT count(*) AS runs, {parts} FROM runs WHERE zoo = :zoo"
    row = rows_of(catalog, query, zoo=zoo)[0]
    columns = [
        {
            "column": name,
            "values": row[f"n{i}"],
            "least": row[f"low{i}"],
            "greatest": row[f"high{i}"],
            "listed": row[f"some{i}"] if row[f"n{i}"] <= MOST_VALUES else [],
        }
        for i, name in enumerate(names)
        if row[f"n{i}"] > 1
    ]
    return [column for column in columns if not _names_runs(column, row["runs"])]


def _names_runs(column: dict[str, Any], runs: int) -> bool:
    """Return True if a column holds names of the runs rather than a setting."""
    if column["column"] in _DOCUMENTED or column["values"] < runs:
        return False
    text = isinstance(column["least"], str) and runs > MOST_VALUES
    return text or column["column"].lower() in _NAMES


def distributions(catalog: Catalog, zoo: str, bins: int = 12) -> dict[str, Histogram]:
    """Return a histogram of each judging column over the last checkpoints of a zoo."""
    columns = judging_columns(catalog, zoo)
    if not columns:
        return {}
    selected = ", ".join(map(identifier, columns))
    rows = rows_of(catalog, last_checkpoints(selected), zoo=zoo)
    histograms = {}
    for column in columns:
        values = [row[column] for row in rows if row[column] is not None]
        histograms[column] = histogram(np.array(values, float), bins)
    return histograms


def judging_columns(catalog: Catalog, zoo: str) -> list[str]:
    """Return the columns that judge the networks of a zoo.

    These are the accuracies that the zoo has; without accuracies, the losses; without
    losses, up to four other metrics.
    """
    columns = metric_columns(catalog)
    if not columns:
        return []
    counts = ", ".join(f"count({identifier(n)}) AS n{i}" for i, n in enumerate(columns))
    query = f"SELECT {counts} FROM ({last_checkpoints('*')})"
    row = rows_of(catalog, query, zoo=zoo)[0]
    names = [name for i, name in enumerate(columns) if row[f"n{i}"]]
    for ending in ("_accuracy", "_loss"):
        candidates = [f"{split}{ending}" for split in ("validation", "test", "train")]
        if chosen := [name for name in candidates if name in names]:
            return chosen
    return [name for name in names if name != "epoch"][:4]


def last_checkpoints(columns: str) -> str:
    """Return a query for columns of the last checkpoint of every run of ``:zoo``."""
    return (
        f"SELECT {columns} FROM models WHERE zoo = :zoo "
        "QUALIFY step = max(step) OVER (PARTITION BY run_id)"
    )


def _over_training(catalog: Catalog, zoo: str) -> Rows:
    query = "SELECT step, count(*) AS checkpoints, "
    query += ", ".join(
        f"avg({name}) AS {name}"
        for name in ("train_loss", "train_accuracy", "validation_accuracy", "test_accuracy")
    )
    query += " FROM models WHERE zoo = :zoo GROUP BY step ORDER BY step"
    rows = rows_of(catalog, query, zoo=zoo)
    return [{k: v for k, v in row.items() if v is not None} for row in rows]
