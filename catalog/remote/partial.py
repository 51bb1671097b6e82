"""Check before a publish of what was fetched in part."""

from __future__ import annotations

from catalog.catalog import Catalog
from catalog.console.counting import counted
from catalog.console.pasting import word
from catalog.errors import CatalogError


def check_complete(catalog: Catalog) -> None:
    """Refuse a catalogue that holds parts of shards elsewhere.

    Raises
    ------
    CatalogError
        With the number of parts and their checkpoints, and what to paste.
    """
    parts = [m.shard for m in catalog.snapshot.manifests if m.partial]
    if not parts:
        return
    rows = catalog.sql(
        "SELECT count(*) FROM checkpoints JOIN shards USING (shard) "
        "WHERE partial IS NOT NULL"
    )
    checkpoints = rows.fetchall()[0][0]
    if not checkpoints:
        raise CatalogError(
            f"{catalog.root} has {counted(len(parts), 'shard')} with parts of checkpoints "
            "that it now has whole. Free them first: phasezoo gc --waste 0 --grace 0 "
            f"--catalog {word(catalog.root)}"
        )
    raise CatalogError(
        f"{catalog.root} is partial: {len(parts)} of its shards hold only some rows or "
        "tensors of shards elsewhere, with "
        f"{counted(checkpoints, 'checkpoint')}. Fetch the rest without --where, --tensors "
        "and --steps, or publish the part as it is: add --partial"
    )
