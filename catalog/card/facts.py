"""Facts that a card states about a catalogue, each by one query over all zoos."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.catalog import Catalog
from catalog.quoting import identifier
from catalog.report.phase_grid import COLOURS
from catalog.rows import Rows, rows_of
from catalog.show.dictionary import all_columns

VIEWER_LIMIT = 300_000_000
"""Bytes of an uncompressed row group (286 MiB) above which the Hub's viewer refuses it."""

MOST_VALUES = 4
"""Maximum number of values of one column that are listed for a zoo."""

_KEYS = 120
"""Bytes of the two key columns of a row of weights, generously."""


def _some(column: str, name: str, most: int = MOST_VALUES) -> str:
    """Return SQL for the first values of a column, and their number."""
    values = f"list(DISTINCT {column} ORDER BY {column}) FILTER ({column} IS NOT NULL)"
    return f"({values})[:{most}] AS {name}, count(DISTINCT {column}) AS {name}_count"


def _range(column: str) -> str:
    return f"min({column}) AS {column}_min, max({column}) AS {column}_max"


_ZOOS = f"""
SELECT zoo, count(*) AS runs, count(*) FILTER (status = 'diverged') AS diverged,
    {_some("source", "sources")}, {_some("task_name", "tasks")},
    {_some("architecture_name", "architectures")},
    {_some("nullif(license, '')", "licences", 20)},
    count(*) FILTER (license IS NULL OR license = '') AS unlicensed,
    {_some("data_fingerprint", "fingerprints")}, {_some("code_version", "versions")},
    {_some("optimizer", "optimizers")}, {_some("schedule", "schedules")},
    {_some("source_name", "source_names")},
    {_range("lr")}, {_range("batch_size")}, {_range("steps")}, {_range("train_samples")},
    {_range("parameters")}, {_range("created")}
FROM runs GROUP BY zoo ORDER BY zoo"""

_SIZES = """
SELECT zoo, count(*) AS checkpoints, sum(w.bytes)::BIGINT AS bytes
FROM models m LEFT JOIN (SELECT shard, sum(row_bytes) AS bytes FROM chunks
    WHERE first_row = 0 GROUP BY shard) w ON w.shard = m.shard AND m.row IS NOT NULL
GROUP BY zoo"""

_PARENTS = """
SELECT c.zoo, coalesce(p.zoo, 'not in this catalogue') AS parent_zoo, c.role,
    count(DISTINCT c.run_id) AS runs
FROM (SELECT run_id, zoo, p.run_id AS parent, p.role AS role FROM
    (SELECT run_id, zoo, unnest(parents) AS p FROM runs WHERE len(parents) > 0)) c
LEFT JOIN runs p ON p.run_id = c.parent
GROUP BY ALL ORDER BY ALL LIMIT 1000"""

_COUNTS = [f"count(*) FILTER (phase = '{p}') AS {identifier(p)}" for p in COLOURS]

_PHASES = f"""
SELECT zoo, {", ".join(_COUNTS)},
    count(*) FILTER (phase = 'unmeasured') AS unmeasured, count(*) AS labelled
FROM (SELECT zoo, phase::VARCHAR AS phase FROM models) WHERE phase IS NOT NULL
GROUP BY zoo ORDER BY zoo"""

_TASKS = f"""
SELECT task_name, {_some("zoo", "zoos")}, count(*) AS runs, {_some("task", "definitions")},
    {_some("data_fingerprint", "fingerprints")}, {_range("train_samples")}
FROM runs GROUP BY task_name ORDER BY task_name"""

_ARCHITECTURES = f"""
WITH groups AS (SELECT shard, first_row, any_value(rows) AS rows,
    sum(row_bytes) AS row_bytes FROM chunks GROUP BY shard, first_row)
SELECT s.arch_id, count(DISTINCT s.shard) AS files, sum(g.rows)::BIGINT AS rows,
    max(g.row_bytes)::BIGINT AS row_bytes,
    max(g.rows * (g.row_bytes + {_KEYS}))::BIGINT AS group_bytes
FROM shards s JOIN groups g USING (shard) WHERE s.content = 'weights'
GROUP BY s.arch_id ORDER BY s.arch_id"""

MOST_ARCHITECTURES = 50
"""Maximum number of architectures whose tensors are listed."""

_TENSORS = f"""
SELECT arch_id, column_name, dtype, shape, role FROM tensors WHERE size > 0 AND arch_id IN
    (SELECT DISTINCT arch_id FROM tensors ORDER BY arch_id LIMIT {MOST_ARCHITECTURES})
ORDER BY arch_id, position"""


_TYPES = {"DOUBLE": "double", "BIGINT": "int64", "VARCHAR": "string", "BOOLEAN": "bool"}


@dataclass(frozen=True)
class Facts:
    """Rows that a card shows, each list sorted by its first column.

    Attributes
    ----------
    zoos : list of dict
        Counts, sizes, sources, licences and training settings of every zoo.
    tasks : list of dict
    parents : list of dict
        Numbers of runs that were derived from runs of another zoo, by role.
    phases : list of dict
        Number of checkpoints per phase, of zoos that have phases.
    architectures : list of dict
        Files, rows and the largest row group of the weights of every architecture; the
        sizes come from the recorded offsets, so that no weights are read.
    tensors : list of dict
        Stored tensors of the first `MOST_ARCHITECTURES` architectures, in the order of
        their layouts.
    columns : list of dict
        ``column``, ``type``, ``unit``, ``meaning`` of the columns of `models` that hold
        any value, in the order of the view.
    """

    zoos: Rows
    tasks: Rows
    parents: Rows
    phases: Rows
    architectures: Rows
    tensors: Rows
    columns: Rows

    @property
    def runs(self) -> int:
        """Number of runs."""
        return sum(zoo["runs"] for zoo in self.zoos)

    @property
    def checkpoints(self) -> int:
        """Number of checkpoints."""
        return sum(zoo["checkpoints"] for zoo in self.zoos)

    @property
    def bytes(self) -> int:
        """Bytes of all weights."""
        return sum(zoo["bytes"] for zoo in self.zoos)

    @property
    def too_large(self) -> dict[str, int]:
        """Bytes of the largest row group of architectures that the viewer refuses."""
        return {
            row["arch_id"]: row["group_bytes"]
            for row in self.architectures
            if row["group_bytes"] > VIEWER_LIMIT
        }


def facts_of(catalog: Catalog) -> Facts:
    """Return the facts about a catalogue.

    Raises
    ------
    CatalogError
        If its metadata cannot be queried.
    """
    sizes = {row["zoo"]: row for row in rows_of(catalog, _SIZES)}
    none = {"checkpoints": 0, "bytes": None}
    zoos = [zoo | sizes.get(zoo["zoo"], none) for zoo in rows_of(catalog, _ZOOS)]
    for zoo in zoos:
        zoo["bytes"] = zoo["bytes"] or 0
    return Facts(
        zoos=zoos,
        tasks=rows_of(catalog, _TASKS),
        parents=rows_of(catalog, _PARENTS),
        phases=rows_of(catalog, _PHASES),
        architectures=rows_of(catalog, _ARCHITECTURES),
        tensors=rows_of(catalog, _TENSORS),
        columns=_columns(catalog),
    )


def _columns(catalog: Catalog) -> Rows:
    """Return documentation of the columns of `models` that are not empty."""
    described: dict[str, dict[str, str]] = {}
    for row in all_columns(catalog):
        if row["view"] in ("runs", "checkpoints", "models"):
            described.setdefault(row["column"], row)
    names = catalog.sql("FROM models").columns
    counts = ", ".join(f"count({identifier(n)}) AS n{i}" for i, n in enumerate(names))
    filled = rows_of(catalog, f"SELECT {counts} FROM models")[0]
    rows = []
    for i, name in enumerate(names):
        known = described.get(name)
        if known and filled[f"n{i}"]:
            kind = "list of struct" if "<" in known["type"] else known["type"]
            rows.append(
                {
                    "column": name,
                    "type": _TYPES.get(kind, kind),
                    "unit": known["unit"],
                    "meaning": known["meaning"],
                }
            )
    return rows
