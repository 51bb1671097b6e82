"""Overview of one architecture: its tensors, zoos and shards."""

from __future__ import annotations

from typing import Any

from catalog.catalog import Catalog
from catalog.rows import rows_of
from catalog.storage.json_column import json_object

_TENSORS = """
SELECT tensor, column_name, shape, axes, dtype, role, size FROM tensors
WHERE arch_id = :id ORDER BY position"""

_ZOOS = """
SELECT zoo, count(DISTINCT run_id) AS runs, count(*) AS checkpoints,
    min(validation_accuracy) AS worst_validation,
    max(validation_accuracy) AS best_validation
FROM models WHERE shard IN (SELECT shard FROM shards WHERE arch_id = :id)
GROUP BY zoo ORDER BY zoo"""

_ARCHITECTURE = """
SELECT any_value(architecture) AS architecture, any_value(architecture_name) AS name
FROM runs WHERE arch_id = :id"""


def describe_architecture(catalog: Catalog, arch_id: str) -> dict[str, Any]:
    """Return a document about an architecture.

    Returns
    -------
    dict
        ``architecture``: arguments of `zoo.modules.build`, layout and sizes; ``tensors``:
        a row each; ``zoos`` with networks of the architecture; ``shards`` with weights.
    """
    layout = catalog.layout(arch_id)
    recorded = rows_of(catalog, _ARCHITECTURE, id=arch_id)[0]
    shards = rows_of(
        catalog,
        "SELECT shard, rows, bytes FROM shards WHERE arch_id = :id ORDER BY sequence",
        id=arch_id,
    )
    trained = [p for p in layout if p.role == "parameter"]
    return {
        "kind": "architecture",
        "id": arch_id,
        "architecture": {
            **_fields(recorded["architecture"], recorded["name"]),
            "layout_id": layout.id,
            "tensors": len(layout),
            "parameters": sum(p.size for p in trained),
            "vector_length": layout.d,
            "bytes": layout.nbytes,
            "symmetries": len({a for p in layout for a in p.axes if a is not None}),
        },
        "tensors": rows_of(catalog, _TENSORS, id=arch_id),
        "zoos": rows_of(catalog, _ZOOS, id=arch_id),
        "shards": shards,
    }


def _fields(text: str | None, name: str | None) -> dict[str, Any]:
    fields = json_object(text, "The architecture") if text else {}
    return fields if fields else ({"name": name} if name else {})
