"""List of the zoos of a catalogue."""

from __future__ import annotations

from typing import Any

from catalog.catalog import Catalog
from catalog.rows import Rows, rows_of
from catalog.show.run import described

_ZOOS = """
WITH stored AS (
    SELECT shard, sum(row_bytes) AS bytes, any_value(partial) IS NOT NULL AS partial
    FROM chunks JOIN shards USING (shard) WHERE first_row = 0 GROUP BY shard
), networks AS (
    SELECT zoo, count(*) AS checkpoints,
        sum(stored.bytes) FILTER (models.row IS NOT NULL)::BIGINT AS bytes,
        count(*) FILTER (stored.partial) AS partial,
        {phases} AS phases,
        coalesce(
            arg_max(test_accuracy, validation_accuracy)
                FILTER (isfinite(test_accuracy) AND isfinite(validation_accuracy)),
            max(test_accuracy) FILTER (isfinite(test_accuracy))
        ) AS best_test_accuracy
    FROM models LEFT JOIN stored USING (shard) GROUP BY zoo
), described AS (
    SELECT zoo, list(DISTINCT task_name ORDER BY task_name) AS tasks,
        list(DISTINCT architecture_name ORDER BY architecture_name) AS architectures,
        count(*) AS runs,
        list_sort(list(DISTINCT coalesce(license, 'not stated'))) AS licenses
    FROM runs GROUP BY zoo
)
SELECT zoo, tasks, architectures, runs, coalesce(checkpoints, 0) AS checkpoints,
    coalesce(partial, 0) AS partial, coalesce(bytes, 0) AS bytes, phases,
    best_test_accuracy, licenses
FROM described LEFT JOIN networks USING (zoo) ORDER BY zoo"""

_PHASES = (
    "list(DISTINCT phase ORDER BY phase) "
    "FILTER (phase IS NOT NULL AND phase <> 'unmeasured')"
)


def zoos(catalog: Catalog) -> Rows:
    """Return a row per zoo, by one query.

    Returns
    -------
    list of dict
        ``zoo``; ``tasks``, ``architectures``, ``phases`` and ``licenses``, which are sorted
        lists; ``runs`` and ``checkpoints``; ``partial``, the number of checkpoints of which
        only some tensors were fetched; ``bytes`` of their weights; and
        ``best_test_accuracy``, that of the checkpoint that is best on the validation split
        or, if no checkpoint has a validation accuracy, the greatest one.
    """
    columns = {row["column_name"] for row in described(catalog, "models")}
    phases = _PHASES if "phase" in columns else "[]::VARCHAR[]"
    rows = rows_of(catalog, _ZOOS.replace("{phases}", phases))
    lists = ("tasks", "architectures", "phases", "licenses")
    return [
        row | {name: [x for x in row[name] or () if x is not None] for name in lists}
        for row in rows
    ]


def total(rows: Rows) -> dict[str, Any]:
    """Return the number of zoos, and the sums of the other numbers over them."""
    sums = {name: sum(row[name] for row in rows) for name in _SUMMED}
    return {"zoos": len(rows), **sums}


_SUMMED = ("runs", "checkpoints", "partial", "bytes")
