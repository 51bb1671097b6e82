"""Rewriting of shards that lost many checkpoints to removal or to earlier commits.

The new shard takes the place of the old one in the order of commits, so that concurrent
removals and commits have the same effect as without it. Weights are checked against their
hashes before they are copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from catalog.catalog import Catalog, arrow_table
from catalog.dtypes import Array
from catalog.index.tables import connect
from catalog.layout import Layout
from catalog.quoting import literal
from catalog.schema import TABLES
from catalog.storage.manifest import Manifest
from catalog.storage.metadata import metadata_source
from catalog.storage.shard import read_footer
from catalog.writer import Part, Writer

WASTE = 0.25
"""Default share of its checkpoints that a shard must have lost to be rewritten."""


@dataclass(frozen=True)
class _Kept:
    """Kept rows of a shard, as a `ShardSource` for `write_shard`."""

    layout: Layout
    table: pa.Table
    tensors: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.table)

    def stored(self, name: str, rows: slice = slice(None)) -> Array:
        return self.tensors[name][rows]


def wasteful(
    catalog: Catalog, manifests: Sequence[Manifest], waste: float = WASTE
) -> list[Manifest]:
    """Return the shards that kept some checkpoints but lost at least the share ``waste``.

    With 0, shards that lost any checkpoint are returned. A checkpoint counts as lost if it
    was removed, or if an earlier commit holds it.
    """
    counts = catalog.sql("SELECT shard, count(*) FROM checkpoints GROUP BY shard")
    living = dict(counts.fetchall())
    shards = []
    for manifest in manifests:
        file = manifest.files.get("checkpoints")
        rows = file.rows if file and manifest.content != "pack" else 0
        remaining = living.get(manifest.shard, 0)
        if 0 < remaining < rows and rows - remaining >= waste * rows:
            shards.append(manifest)
    return shards


def rewrite(catalog: Catalog, manifests: Sequence[Manifest]) -> None:
    """Commit the remaining checkpoints of shards again, without deleting these shards.

    Raises
    ------
    ShardCorrupt
        If a weight or a row of metadata is not what was committed. The shard is not
        rewritten then.
    """
    with Writer(catalog.root, spare=True) as writer:
        for manifest in manifests:
            writer.publish([_part(catalog, manifest, writer)])


def _part(catalog: Catalog, manifest: Manifest, writer: Writer) -> Part:
    holder = catalog.snapshot.shards[manifest.pack or manifest.shard]
    selection = catalog.select(
        f"shard = {literal(manifest.shard)} ORDER BY row, run_id, step"
    )
    keys = selection.table.select(["run_id", "step"])
    runs, checkpoints = _metadata(catalog.root, manifest.shard, holder, keys)
    if "weights" not in manifest.files:
        return Part(runs, checkpoints, sequence=manifest.sequence, partial=manifest.partial)
    weights = _Kept(selection.layout, keys, selection.verified())
    footer = read_footer(catalog.root / manifest.files["weights"].path)
    architecture = (footer.metadata or {}).get(b"phasezoo.architecture", b"")
    staged = writer.stage(weights, architecture.decode())
    return Part(runs, checkpoints, staged, manifest.sequence, manifest.partial)


def _metadata(
    root: Path, shard: str, holder: Manifest, keys: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Return the committed rows of `runs` and `checkpoints` of the kept checkpoints."""
    runs = metadata_source(root, [holder], "runs", origin=True)
    checkpoints = metadata_source(root, [holder], "checkpoints")
    shard_literal = literal(shard)
    with connect() as connection:
        connection.register("kept", keys)
        tables = (
            connection.sql(
                f"SELECT * EXCLUDE (pz_shard) FROM {runs} WHERE pz_shard = {shard_literal} "
                "AND run_id IN (SELECT run_id FROM kept) ORDER BY run_id"
            ),
            connection.sql(
                f"FROM {checkpoints} WHERE shard = {shard_literal} AND (run_id, step) IN "
                "(SELECT (run_id, step) FROM kept) ORDER BY row, run_id, step"
            ),
        )
        results = [arrow_table(table) for table in tables]
    return without_foreign_columns(results[0], "runs"), without_foreign_columns(
        results[1], "checkpoints"
    )


def without_foreign_columns(table: pa.Table, name: str) -> pa.Table:
    """Drop undocumented columns without a value: only other shards have these."""
    documented = {column.name for column in TABLES[name]}
    empty = [c for c in table.column_names if table[c].null_count == len(table)]
    return table.drop_columns([c for c in empty if c not in documented])
