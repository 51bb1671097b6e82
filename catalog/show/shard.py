"""Overview of one shard: files with sizes and hashes, checkpoints, and row groups."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from catalog.catalog import Catalog
from catalog.rows import rows_of

_CHECKPOINTS = """
SELECT zoo, count(DISTINCT run_id) AS runs, count(*) AS checkpoints,
    min(step) AS first_step, max(step) AS last_step
FROM models WHERE shard = :shard GROUP BY zoo ORDER BY zoo"""

_GROUPS = """
SELECT first_row, any_value(rows) AS rows, sum(rows * row_bytes)::BIGINT AS bytes,
    min("offset") AS "offset"
FROM chunks WHERE shard = :shard GROUP BY first_row ORDER BY first_row"""

_TENSORS = """
SELECT tensor, row_bytes, min("offset") AS first_offset FROM chunks
WHERE shard = :shard GROUP BY tensor, row_bytes ORDER BY first_offset"""

_FILE = ("rows", "bytes", "sha256", "path")


def describe_shard(catalog: Catalog, shard: str) -> dict[str, Any]:
    """Return a document about a shard.

    Returns
    -------
    dict
        ``shard``: fields of the commit record that are not empty, with the names of
        ``members``; ``files``: kind, rows, bytes, sha256 and
        path of each file; ``checkpoints``: numbers per zoo; ``row_groups`` and
        ``tensors`` of the weights.
    """
    manifest = catalog.snapshot.shards[shard]
    record = asdict(manifest)
    files = record.pop("files")
    record["measure_columns"] = list(manifest.measure_columns)
    record["members"] = [member.shard for member in manifest.members]
    record["superseded"] = sorted(manifest.superseded)
    record["bytes"] = sum(file["bytes"] for file in files.values())
    return {
        "kind": "shard",
        "id": shard,
        "shard": {k: v for k, v in record.items() if v not in ("", [], 0)},
        "files": [
            {"kind": kind, **{key: file[key] for key in _FILE}}
            for kind, file in files.items()
        ],
        "checkpoints": rows_of(catalog, _CHECKPOINTS, shard=shard),
        "row_groups": rows_of(catalog, _GROUPS, shard=shard),
        "tensors": rows_of(catalog, _TENSORS, shard=shard),
    }
