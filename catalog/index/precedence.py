"""The rule by which one of several commits of a run or checkpoint counts."""

from __future__ import annotations

WITH_ARCHITECTURE = "r.* REPLACE (coalesce(nullif(s.arch_id, ''), r.arch_id) AS arch_id)"
"""Columns of runs ``r`` as `models` shows them for a checkpoint in shard ``s``.

Checkpoints of one run may have other tensors, and so another architecture, where only a
part of some was fetched.
"""


def precedence(shards: str) -> str:
    """Return SQL that sorts commits so that the one that counts comes first.

    The first commit counts. Parts of shards elsewhere count where no other shard has the
    checkpoint; then the last one does, which holds the tensors of those before it.

    Parameters
    ----------
    shards : str
        Alias of the table ``shards`` in the query.
    """
    s = shards
    return (
        f"{s}.partial IS NOT NULL, "
        f"CASE WHEN {s}.partial IS NULL THEN {s}.sequence ELSE -{s}.sequence END, "
        f"{s}.sha256"
    )
