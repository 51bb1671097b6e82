"""Shards of which a good part was removed, or stands elsewhere, are written again.

The new shard takes the old one's place in the order of commits, so that what is removed
or committed meanwhile counts as if nothing had happened. Weights are compared with their
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
"""Share of a shard's checkpoints that must be removed before it is written again, unless
asked otherwise."""


@dataclass(frozen=True)
class _Kept:
    """Rows of a shard that stay, as `write_shard` takes them."""

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
    """Shards that have living checkpoints, but lost at least the share ``waste``.

    With 0: that lost any. A checkpoint that was committed before is lost too.
    """
    counts = catalog.sql("SELECT shard, count(*) FROM checkpoints GROUP BY shard")
    living = dict(counts.fetchall())
    found = []
    for manifest in manifests:
        file = manifest.files.get("checkpoints")
        rows = file.rows if file and manifest.content != "pack" else 0
        left = living.get(manifest.shard, 0)
        if 0 < left < rows and rows - left >= waste * rows:
            found.append(manifest)
    return found


def rewrite(catalog: Catalog, manifests: Sequence[Manifest]) -> None:
    """Commit the living checkpoints of shards again; the shards themselves stay.

    Raises
    ------
    ShardCorrupt
        If a weight or a row of metadata is not what was committed: nothing is written.
    """
    with Writer(catalog.root, spare=True) as writer:
        for manifest in manifests:
            writer.publish([_part(catalog, manifest, writer)])


def _part(catalog: Catalog, manifest: Manifest, writer: Writer) -> Part:
    holder = catalog.snapshot.shards[manifest.pack or manifest.shard]
    kept = catalog.select(f"shard = {literal(manifest.shard)} ORDER BY row, run_id, step")
    keys = kept.table.select(["run_id", "step"])
    runs, checkpoints = _metadata(catalog.root, manifest.shard, holder, keys)
    if "weights" not in manifest.files:
        return Part(runs, checkpoints, sequence=manifest.sequence)
    weights = _Kept(kept.layout, keys, kept.verified())
    footer = read_footer(catalog.root / manifest.files["weights"].path)
    architecture = (footer.metadata or {}).get(b"phasezoo.architecture", b"")
    staged = writer.stage(weights, architecture.decode())
    return Part(runs, checkpoints, staged, manifest.sequence)


def _metadata(
    root: Path, shard: str, holder: Manifest, kept: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Rows of `runs` and `checkpoints` of the kept checkpoints, as they were committed."""
    runs = metadata_source(root, [holder], "runs", origin=True)
    checkpoints = metadata_source(root, [holder], "checkpoints")
    own = literal(shard)
    with connect() as connection:
        connection.register("kept", kept)
        tables = (
            connection.sql(
                f"SELECT * EXCLUDE (pz_shard) FROM {runs} WHERE pz_shard = {own} "
                "AND run_id IN (SELECT run_id FROM kept) ORDER BY run_id"
            ),
            connection.sql(
                f"FROM {checkpoints} WHERE shard = {own} AND (run_id, step) IN "
                "(SELECT (run_id, step) FROM kept) ORDER BY row, run_id, step"
            ),
        )
        found = [arrow_table(table) for table in tables]
    return _without_strangers(found[0], "runs"), _without_strangers(found[1], "checkpoints")


def _without_strangers(table: pa.Table, name: str) -> pa.Table:
    """Without the columns that only other shards of a pack have."""
    ours = {column.name for column in TABLES[name]}
    empty = [c for c in table.column_names if table[c].null_count == len(table)]
    return table.drop_columns([c for c in empty if c not in ours])
