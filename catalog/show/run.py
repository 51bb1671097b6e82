"""Overview of one run: configuration, trajectory, parents and children."""

from __future__ import annotations

from typing import Any

from catalog.catalog import Catalog
from catalog.quoting import identifier
from catalog.rows import Rows, rows_of
from catalog.schema import RUNS

_PARENTS = """
SELECT p.run_id, p.step, p.role, k.zoo, k.source, k.run_id IS NOT NULL AS known
FROM (SELECT unnest(parents) AS p FROM runs WHERE run_id = :run) LEFT JOIN runs k
ON k.run_id = p.run_id ORDER BY p.run_id, p.step"""

_CHILDREN = """
SELECT run_id, zoo, source, p.step AS from_step, p.role AS role
FROM (SELECT run_id, zoo, source, unnest(parents) AS p FROM runs
    WHERE len(parents) > 0)
WHERE p.run_id = :run ORDER BY run_id, from_step"""

_NUMBERS = {"BIGINT", "DOUBLE"}
_NOT_METRICS = {"step", "row", "train_evaluated"}


def describe_run(catalog: Catalog, run_id: str) -> dict[str, Any]:
    """Return a document about a run.

    Returns
    -------
    dict
        ``configuration``: columns of the run that are not null; ``trajectory``: lists of
        ``step`` and of every metric and measure; ``parents`` and ``children``: rows about
        related runs.
    """
    configuration = rows_of(catalog, "FROM runs WHERE run_id = :run", run=run_id)[0]
    configuration.pop("parents")
    return {
        "kind": "run",
        "id": run_id,
        "configuration": {k: v for k, v in configuration.items() if v is not None},
        "trajectory": trajectory(catalog, run_id),
        "parents": rows_of(catalog, _PARENTS, run=run_id),
        "children": rows_of(catalog, _CHILDREN, run=run_id),
    }


def trajectory(catalog: Catalog, run_id: str) -> dict[str, list[Any]]:
    """Return the steps of a run in order, and the values of its metrics and measures.

    Columns in which all values are null are left out.
    """
    selected = ", ".join(
        map(identifier, metric_columns(catalog, ["step", "finite", "row"]))
    )
    query = f"SELECT {selected} FROM models WHERE run_id = :run ORDER BY step"
    rows = rows_of(catalog, query, run=run_id)
    if not rows:
        return {"step": []}
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {k: v for k, v in columns.items() if any(x is not None for x in v)}


def metric_columns(catalog: Catalog, first: list[str] | None = None) -> list[str]:
    """Return ``first``, then the numeric columns of `models` that describe checkpoints."""
    documented = {column.name for column in RUNS}
    free = {row["column_name"] for row in described(catalog, "runs")}
    names = [
        row["column_name"]
        for row in described(catalog, "models")
        if row["column_type"] in _NUMBERS
        and row["column_name"] not in documented | free | _NOT_METRICS
    ]
    return [*(first or []), *names]


def described(catalog: Catalog, view: str) -> Rows:
    """Return ``column_name`` and ``column_type`` of every column of a view."""
    return rows_of(catalog, f"SELECT column_name, column_type FROM (DESCRIBE {view})")
