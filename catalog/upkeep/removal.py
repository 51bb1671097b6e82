"""Removal of checkpoints by tombstones; `gc` deletes their bytes later."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from catalog.catalog import Catalog, arrow_table
from catalog.errors import NotFound
from catalog.storage.reserve import needing, version_bytes


@dataclass(frozen=True)
class Removal:
    """Checkpoints that a condition removes.

    Attributes
    ----------
    runs : int
        Number of runs that lose all of their checkpoints.
    checkpoints : int
        Number of checkpoints that are removed.
    keys : pyarrow.Table
        Columns ``run_id`` and ``step`` of the checkpoints.
    """

    runs: int
    checkpoints: int
    keys: pa.Table = field(repr=False)


def find_removal(catalog: Catalog, where: str) -> Removal:
    """Find the checkpoints that a condition on `models` would remove.

    Raises
    ------
    NotFound
        If no checkpoint matches.
    CatalogError
        If the condition is not valid SQL.
    """
    query = f"SELECT run_id, step FROM ({catalog.matching(where)})"
    keys = arrow_table(catalog.sql(query))
    if not len(keys):
        raise NotFound(f"No checkpoint matches {where!r}; nothing to remove.")
    counts = arrow_table(
        catalog.sql(
            "SELECT count(*) AS runs FROM (SELECT run_id, count(*) AS n FROM "
            f"({query}) GROUP BY run_id) r JOIN "
            "(SELECT run_id, count(*) AS n FROM models GROUP BY run_id) a "
            "USING (run_id, n)"
        )
    )
    return Removal(counts["runs"][0].as_py(), len(keys), keys)


def remove(catalog: Catalog, where: str) -> Removal:
    """Remove the checkpoints that match a condition on `models`.

    The checkpoints do not exist from the next version on. Older versions still have them
    until `gc` deletes these versions. Committing or training the checkpoints again brings
    them back.

    Raises
    ------
    NotFound
        If no checkpoint matches.
    CatalogError
        If the condition is not valid SQL, or the folder cannot be written.
    """
    removal = find_removal(catalog, where)
    with (
        needing(lambda: _needed_bytes(catalog, removal)),
        catalog.writer(spare=True) as writer,
    ):
        writer.commit_tombstones(removal.keys)
    return removal


def _needed_bytes(catalog: Catalog, removal: Removal) -> int:
    """Return an upper estimate of the bytes that a removal writes: keys and a version."""
    keys: int = removal.keys.nbytes
    return keys + 2 * version_bytes(catalog.root) + (64 << 10)
