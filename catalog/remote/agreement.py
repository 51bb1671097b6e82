"""Comparison of checkpoints that two catalogues both have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from catalog.errors import CatalogError, ShardCorrupt
from catalog.index.tables import connect
from catalog.quoting import literal
from catalog.storage.manifest import Manifest
from catalog.storage.metadata import metadata_source


class ComparedShards(NamedTuple):
    """Metadata of some shards.

    Attributes
    ----------
    root : Path
        Folder of the metadata files.
    manifests : sequence of Manifest
        Of a `Snapshot`; packs with what supersedes them.
    shards : frozenset of str
        Shards whose checkpoints are compared.
    """

    root: Path
    manifests: Sequence[Manifest]
    shards: frozenset[str]


def check_agreement(
    ours: ComparedShards,
    theirs: ComparedShards,
    address: str,
    keys: pa.Table | None = None,
) -> None:
    """Refuse two sides that have other weights for the same checkpoint.

    Where one side has only a part of a shard, the tensors that both have are compared.

    Parameters
    ----------
    keys : pyarrow.Table, optional
        ``run_id`` and ``step`` of the checkpoints to compare. Default: all that both have.

    Raises
    ------
    CatalogError
        With the first checkpoints that differ.
    """
    sources = [metadata_source(s.root, s.manifests, "checkpoints") for s in (ours, theirs)]
    if not all(sources) or not ours.shards or not theirs.shards:
        return
    with connect() as connection:
        try:
            for name, side, source in zip("ab", (ours, theirs), sources, strict=True):
                _keys(connection, name, side, source)
            asked = ""
            if keys is not None:
                connection.register("asked", keys)
                asked = "SEMI JOIN asked USING (run_id, step)"
            connection.execute(
                "CREATE TABLE common AS SELECT run_id, step FROM a SEMI JOIN b "
                f"USING (run_id, step) {asked}"
            )
            count = connection.execute("SELECT count(*) FROM common").fetchall()[0][0]
            if not count:
                return
            for name, side in (("a", ours), ("b", theirs)):
                _fingerprints(connection, name, side)
            different = connection.execute(
                "SELECT DISTINCT run_id, step FROM prints_a a JOIN prints_b b "
                "USING (run_id, step) WHERE "
                "CASE WHEN a.partial OR b.partial THEN len(list_filter(map_keys(a.print), "
                "lambda t: b.print[t] <> a.print[t])) > 0 "
                "ELSE a.print <> b.print END ORDER BY run_id, step LIMIT 4"
            ).fetchall()
        except duckdb.Error as error:
            raise ShardCorrupt(
                f"The checkpoints of {ours.root} and {address} cannot be compared: "
                f"{error}. Run 'phasezoo verify'."
            ) from error
    if different:
        shown = ", ".join(f"{run_id}@{step}" for run_id, step in different[:3])
        more = ", ..." if len(different) > 3 else ""
        raise CatalogError(
            f"Both {ours.root} and {address} have the checkpoints {shown}{more}, with "
            "different weights. Nothing was changed. Keep one of the two: remove the other "
            "with 'phasezoo rm', then 'phasezoo gc --waste 0 --grace 0'."
        )


def _keys(
    connection: duckdb.DuckDBPyConnection, name: str, side: ComparedShards, source: str
) -> None:
    listed = ", ".join(literal(shard) for shard in sorted(side.shards))
    connection.execute(
        f"CREATE TABLE {name} AS SELECT run_id, step, shard, row FROM {source} "
        f"WHERE shard IN ({listed}) AND row IS NOT NULL"
    )


def _fingerprints(
    connection: duckdb.DuckDBPyConnection, name: str, side: ComparedShards
) -> None:
    """Make a table with one map per checkpoint: the hashes of its tensors by name."""
    stats = metadata_source(side.root, side.manifests, "tensor_stats")
    partial = [literal(m.shard) for m in side.manifests if m.partial]
    connection.execute(
        f"""CREATE TABLE prints_{name} AS
        SELECT k.run_id, k.step, k.shard IN ({", ".join(partial) or "NULL"}) AS partial,
               map_from_entries(list({{'k': s.tensor, 'v': s.blake3}} ORDER BY s.tensor))
               AS print
        FROM (SELECT DISTINCT ON (run_id, step, shard, row) * FROM {name}
              SEMI JOIN common USING (run_id, step)) k
        JOIN {stats} s USING (shard, row) GROUP BY k.run_id, k.step, k.shard, k.row"""
    )
