"""Measures of checkpoints that another catalogue has and this one lacks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import duckdb
import pyarrow as pa

from catalog.catalog import Catalog
from catalog.errors import ShardCorrupt
from catalog.index.tables import connect
from catalog.storage.metadata import metadata_source


def missing_measures(
    source: Catalog, here: Catalog | None, keys: pa.Table
) -> list[tuple[int, pa.Table]]:
    """Return the measures of some checkpoints, shard by shard of the source.

    Parameters
    ----------
    source : Catalog
        Catalogue whose measures are copied, with their ids and provenance.
    here : Catalog, optional
        Catalogue whose equal rows are left out; None if there is none yet.
    keys : pyarrow.Table
        ``run_id`` and ``step`` of the checkpoints.

    Returns
    -------
    list of (int, pyarrow.Table)
        Place of each shard in the order of commits, and its rows. They keep their place, so
        that the newest value wins here as it does there.

    Raises
    ------
    ShardCorrupt
        If measures cannot be read.
    """
    theirs = _rows(source)
    if not theirs or not len(keys):
        return []
    ordered = sorted(source.snapshot.manifests, key=lambda manifest: manifest.order)
    ranks = pa.table(
        {
            "pz_shard": [manifest.shard for manifest in ordered],
            "pz_rank": pa.array(range(len(ordered)), pa.int32()),
        }
    )
    mine = _rows(here) if here is not None else ""
    try:
        with connect() as connection:
            connection.register("ranks", ranks)
            connection.register("asked", keys)
            connection.execute(
                "CREATE TABLE theirs AS SELECT f.* EXCLUDE (pz_shard), pz_rank "
                f"FROM {theirs} f JOIN ranks USING (pz_shard) "
                "SEMI JOIN asked USING (run_id, step)"
            )
            if mine:
                connection.execute(
                    "CREATE TABLE fresh AS SELECT run_id, step, pz_rank FROM ("
                    "SELECT * EXCLUDE (pz_rank, pz_here), max(pz_rank) AS pz_rank, "
                    "bool_or(pz_here) AS pz_here FROM ("
                    "SELECT *, false AS pz_here FROM theirs UNION ALL BY NAME "
                    "SELECT * EXCLUDE (pz_shard), NULL::INTEGER AS pz_rank, "
                    "true AS pz_here "
                    f"FROM {mine} SEMI JOIN asked USING (run_id, step)"
                    ") GROUP BY ALL) WHERE NOT pz_here"
                )
            fresh = "SEMI JOIN fresh USING (run_id, step, pz_rank)" if mine else ""
            rows = connection.sql(
                f"FROM theirs {fresh} ORDER BY pz_rank, run_id, step"
            ).to_arrow_table()
    except duckdb.Error as error:
        raise ShardCorrupt(
            f"The measures of {source} cannot be read: {error}. Run 'phasezoo verify' "
            "there. Nothing was fetched."
        ) from error
    return [(ordered[rank].sequence, table) for rank, table in _by_rank(rows)]


def _rows(zoo: Catalog) -> str:
    """Return SQL for all rows of measures, with the shard of each."""
    return metadata_source(zoo.root, zoo.snapshot.manifests, "measures", origin=True)


def _by_rank(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Split a sorted table by rank; drop columns without a value."""
    ranks = table["pz_rank"].to_pylist()
    starts = [i for i, n in enumerate(ranks) if not i or ranks[i - 1] != n]
    for first, last in pairwise([*starts, len(ranks)]):
        part = table.slice(first, last - first).drop_columns(["pz_rank"])
        empty = [c for c in part.column_names if part[c].null_count == len(part)]
        yield ranks[first], part.drop_columns(empty)
