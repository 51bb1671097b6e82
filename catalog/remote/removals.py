"""Check of tombstones that a fetch brings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import duckdb

from catalog.errors import CatalogError, ShardCorrupt
from catalog.index.tables import connect
from catalog.quoting import literal
from catalog.storage.manifest import Manifest
from catalog.storage.metadata import metadata_source
from catalog.storage.snapshot import Snapshot


def check_removals(
    root: Path,
    local: Snapshot,
    new: Sequence[Manifest],
    shared: Collection[str],
    address: str,
) -> None:
    """Refuse tombstones for checkpoints that did not come from the same address.

    Parameters
    ----------
    new : sequence of Manifest
        Shards about to be committed, whose metadata is below ``root``.
    shared : collection of str
        Local shards that came from the address.

    Raises
    ------
    CatalogError
        With the first checkpoints that would be removed.
    """
    removed = metadata_source(
        root, [m for m in new if m.content == "tombstones"], "tombstones"
    )
    others = sorted(local.shards.keys() - set(shared))
    kept = metadata_source(root, local.manifests, "checkpoints")
    if not removed or not kept or not others:
        return
    listed = ", ".join(literal(shard) for shard in others)
    with connect() as connection:
        try:
            hit = connection.execute(
                f"SELECT DISTINCT run_id, step FROM (SELECT run_id, step FROM {kept} WHERE "
                f"shard IN ({listed})) k SEMI JOIN (FROM {removed}) r USING (run_id, step) "
                "ORDER BY ALL LIMIT 4"
            ).fetchall()
        except duckdb.Error as error:
            raise ShardCorrupt(
                f"The tombstones of {address} cannot be read: {error}. Nothing was fetched."
            ) from error
    if hit:
        names = ", ".join(f"{run_id}@{step}" for run_id, step in hit[:3])
        more = ", ..." if len(hit) > 3 else ""
        raise CatalogError(
            f"{address} removes {names}{more}, which this catalogue has from elsewhere. "
            "Nothing was fetched. Remove them here first with 'phasezoo rm', or fetch into "
            "another catalogue: --catalog DIR"
        )
