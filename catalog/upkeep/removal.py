"""Removing checkpoints: a tombstone now, their bytes when `gc` runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from catalog.catalog import Catalog, arrow_table
from catalog.errors import NotFound
from catalog.storage.reserve import needing, version_bytes


@dataclass(frozen=True)
class Removal:
    """What a condition removes.

    Attributes
    ----------
    runs : int
        Runs that lose all of their checkpoints.
    checkpoints : int
        Checkpoints that are removed.
    keys : pyarrow.Table
        Their ``run_id`` and ``step``.
    """

    runs: int
    checkpoints: int
    keys: pa.Table = field(repr=False)


def find_removal(catalog: Catalog, where: str) -> Removal:
    """What a condition on `models` would remove.

    Raises
    ------
    NotFound
        If nothing matches.
    CatalogError
        If the condition is not valid SQL.
    """
    chosen = f"SELECT run_id, step FROM ({catalog.matching(where)})"
    keys = arrow_table(catalog.sql(chosen))
    if not len(keys):
        raise NotFound(f"No checkpoint matches {where!r}; nothing to remove.")
    left = arrow_table(
        catalog.sql(
            "SELECT count(*) AS runs FROM (SELECT run_id, count(*) AS n FROM "
            f"({chosen}) GROUP BY run_id) r JOIN "
            "(SELECT run_id, count(*) AS n FROM models GROUP BY run_id) a "
            "USING (run_id, n)"
        )
    )
    return Removal(left["runs"][0].as_py(), len(keys), keys)


def remove(catalog: Catalog, where: str) -> Removal:
    """Remove the checkpoints that a condition on `models` picks.

    They are gone from the next version on; older versions still have them until `gc`
    deletes those. Committing or training them again brings them back.

    Raises
    ------
    NotFound
        If nothing matches.
    CatalogError
        If the condition is not valid SQL, or the folder cannot be written.
    """
    removal = find_removal(catalog, where)
    with needing(lambda: _bytes(catalog, removal)), catalog.writer(spare=True) as writer:
        writer.commit_tombstones(removal.keys)
    return removal


def _bytes(catalog: Catalog, removal: Removal) -> int:
    """An upper estimate of what a removal writes: its keys, and a version."""
    keys: int = removal.keys.nbytes
    return keys + 2 * version_bytes(catalog.root) + (64 << 10)
