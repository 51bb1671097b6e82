"""What an identifier names, and what every column means."""

from __future__ import annotations

from typing import Any

from catalog.catalog import Catalog
from catalog.errors import NotFound, closest
from catalog.schema import CHECKPOINTS, RUNS, TABLES

Rows = list[dict[str, Any]]

_CHECKPOINT_SUMMARY = """
step, count(*) AS checkpoints, avg(train_loss) AS train_loss,
avg(train_accuracy) AS train_accuracy, avg(validation_accuracy) AS validation_accuracy,
avg(test_accuracy) AS test_accuracy, min(test_accuracy) AS worst_test,
max(test_accuracy) AS best_test"""


def describe(catalog: Catalog, identifier: str) -> dict[str, Any]:
    """Tables about a zoo, a run, a shard or an architecture.

    Parameters
    ----------
    identifier : str
        A zoo's name, the first characters of a run_id (at least 4), a shard's name or
        an arch_id.

    Raises
    ------
    NotFound
        If nothing has the identifier, or several runs begin with it.
    """
    for find in (_zoo, _shard, _architecture, _run):
        found = find(catalog, identifier)
        if found is not None:
            return found
    names = [r[0] for r in catalog.sql("SELECT DISTINCT zoo FROM runs").fetchall()]
    raise NotFound(
        f"Nothing is called {identifier!r}: no zoo, shard, arch_id or start of a "
        f"run_id. {closest(identifier, names)}"
    )


def columns(catalog: Catalog | None) -> Rows:
    """Every column of every view: the documented ones, and those a catalogue adds."""
    rows = []
    documented = {c.name for c in (*RUNS, *CHECKPOINTS)}
    for table, known in TABLES.items():
        names = {column.name for column in known}
        for column in known:
            rows.append(
                _row(table, column.name, str(column.type), column.unit, column.meaning)
            )
        for name, kind in _free(catalog, table, names):
            rows.append(_row(table, name, kind, "-", "came with its zoo"))
    rows.append(_row("models", "*", "-", "-", "runs x checkpoints x newest measures"))
    runs_columns = {name for name, _ in _free(catalog, "runs", set())}
    checkpoint_columns = {name for name, _ in _free(catalog, "checkpoints", set())}
    for name, kind in _free(
        catalog, "models", documented | runs_columns | checkpoint_columns
    ):
        rows.append(_row("models", name, kind, "-", "measure, see measures.provenance"))
    return rows


def _row(view: str, column: str, kind: str, unit: str, meaning: str) -> dict[str, Any]:
    return {
        "view": view,
        "column": column,
        "type": kind,
        "unit": unit,
        "meaning": meaning,
    }


def _free(catalog: Catalog | None, view: str, known: set[str]) -> list[tuple[str, str]]:
    if catalog is None or view == "tensor_stats":
        return []
    described = catalog.sql(f"DESCRIBE {view}").fetchall()
    return [(row[0], row[1]) for row in described if row[0] not in known]


def _rows(catalog: Catalog, query: str, **values: str) -> Rows:
    for key, value in values.items():
        query = query.replace(f":{key}", "'" + value.replace("'", "''") + "'")
    found: Rows = catalog.sql(query).to_arrow_table().to_pylist()
    return found


def _zoo(catalog: Catalog, name: str) -> dict[str, Any] | None:
    runs = _rows(
        catalog,
        "SELECT status, count(*) AS runs, min(parameters) AS parameters_from, "
        "max(parameters) AS parameters_to, count(DISTINCT cell) AS cells, "
        "count(DISTINCT seed) AS seeds FROM runs WHERE zoo = :name GROUP BY status",
        name=name,
    )
    if not runs:
        return None
    steps = (
        f"SELECT {_CHECKPOINT_SUMMARY} FROM models WHERE zoo = :name "
        "GROUP BY step ORDER BY step"
    )
    shards = (
        "SELECT s.shard, s.arch_id, s.rows, s.bytes FROM shards s WHERE s.shard IN "
        "(SELECT shard FROM models WHERE zoo = :name) ORDER BY s.sequence"
    )
    return {
        f"Zoo {name}": runs,
        "Checkpoints": _rows(catalog, steps, name=name),
        "Shards": _rows(catalog, shards, name=name),
    }


def _shard(catalog: Catalog, name: str) -> dict[str, Any] | None:
    shard = _rows(catalog, "SELECT * FROM shards WHERE shard = :name", name=name)
    if not shard:
        return None
    zoos = (
        "SELECT zoo, step, count(*) AS checkpoints FROM models WHERE shard = :name "
        "GROUP BY zoo, step ORDER BY zoo, step"
    )
    chunks = (
        'SELECT tensor, first_row, rows, "offset", row_bytes FROM chunks '
        'WHERE shard = :name ORDER BY "offset"'
    )
    return {
        f"Shard {name}": shard[0],
        "Checkpoints": _rows(catalog, zoos, name=name),
        "Tensors": _rows(catalog, chunks, name=name),
    }


def _architecture(catalog: Catalog, name: str) -> dict[str, Any] | None:
    query = (
        "SELECT * EXCLUDE (arch_id) FROM tensors WHERE arch_id = :name ORDER BY position"
    )
    tensors = _rows(catalog, query, name=name)
    return {f"Architecture {name}": tensors} if tensors else None


def _run(catalog: Catalog, start: str) -> dict[str, Any] | None:
    if len(start) < 4:
        return None
    query = "SELECT * FROM runs WHERE starts_with(run_id, :start) LIMIT 3"
    runs = _rows(catalog, query, start=start)
    if len(runs) > 1:
        raise NotFound(
            f"Several runs begin with {start!r}, e.g. {runs[0]['run_id']} and "
            f"{runs[1]['run_id']}; give more characters."
        )
    if not runs:
        return None
    run = runs[0]["run_id"]
    steps = "SELECT * EXCLUDE (run_id) FROM checkpoints WHERE run_id = :run ORDER BY step"
    known = {key: value for key, value in runs[0].items() if value is not None}
    return {f"Run {run}": known, "Checkpoints": _rows(catalog, steps, run=run)}
