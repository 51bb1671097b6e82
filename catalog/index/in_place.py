"""Catalogues too large to copy: `checkpoints` and `models` as views over Parquet.

Up to `STORED_CHECKPOINTS` the index stores both tables, which answers in a fraction of
the time. Beyond, a copy of every row would take minutes and more disk than the shards,
again for every shard that is added; so the index keeps only what is small (runs, layouts,
shards, the newest measures), and the rows of checkpoints are read where they are.
docs/scale.md has the measurements behind the rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from catalog.quoting import identifier
from catalog.storage.manifest import Manifest
from catalog.storage.measures import shown_sql

STORED_CHECKPOINTS = 20_000_000
"""Greatest number of committed checkpoints of which the index keeps a copy."""

Connection = duckdb.DuckDBPyConnection


def too_large(manifests: Sequence[Manifest]) -> bool:
    """Whether the rows of checkpoints stay in Parquet; commit records alone tell."""
    kind = "checkpoints"
    total = sum(m.own[kind].rows for m in manifests if kind in m.own)
    return total > STORED_CHECKPOINTS


def keep_repeats(connection: Connection, source: str) -> None:
    """Remember, as ``pz_repeats``, removed rows and checkpoints committed twice.

    Only runs that were committed twice can have some: `Writer` makes sure that a shard
    holds a checkpoint once, and the run of each of its checkpoints; all but the first
    are listed. Needs ``shards``, ``pz_removed``, and ``runs`` with all commits.
    """
    repeated = "SELECT run_id FROM runs GROUP BY run_id HAVING count(*) > 1"
    later = (
        "row_number() OVER (PARTITION BY run_id, step ORDER BY s.sequence, s.sha256) > 1"
    )
    found = connection.execute(f"SELECT count(*) FROM ({repeated})").fetchall()[0][0]
    of = f"WHERE run_id IN ({repeated})" if found else "WHERE false"
    connection.execute(
        "CREATE TABLE pz_repeats AS SELECT shard, run_id, step "
        f"FROM {source} ANTI JOIN pz_removed USING (shard, run_id, step) "
        f"JOIN shards s USING (shard) {of} QUALIFY {later}"
    )
    connection.execute("INSERT INTO pz_repeats FROM pz_removed")


def view_queries(connection: Connection, source: str) -> dict[str, str]:
    """Queries of ``checkpoints`` and ``models``, for an index with the small tables alone.

    Parameters
    ----------
    source : str
        SQL for the rows of checkpoints in Parquet, in order of commit.
    """
    repeats = connection.execute("SELECT count(*) FROM pz_repeats").fetchall()[0][0]
    without = " ANTI JOIN pz_repeats USING (shard, run_id, step)" if repeats else ""
    return {
        "checkpoints": f"FROM {source}{without}",
        "models": "SELECT r.*, c.* EXCLUDE (run_id), m.* EXCLUDE (run_id, step) "
        "FROM checkpoints c JOIN runs r USING (run_id) "
        "LEFT JOIN pz_newest m USING (run_id, step)",
    }


def merge_newest(connection: Connection, newest: str, columns: Sequence[str]) -> bool:
    """Put newer measures over those of ``pz_newest``; False if their types differ.

    Parameters
    ----------
    newest : str
        Query for the newer ones: ``run_id``, ``step`` and ``columns``, already quoted.
    """
    known = {
        name: kind for name, kind, *_ in connection.execute("DESCRIBE pz_newest").fetchall()
    }
    fresh = connection.execute(f"DESCRIBE {newest}").fetchall()
    spelled = {name.lower(): name for name in known}
    for name, kind, *_ in fresh:
        if spelled.get(name.lower(), name) != name or known.get(name, kind) != kind:
            return False
    own = list(map(identifier, known))
    both = ", ".join(
        f"{shown_sql(name, f'coalesce(n.{c}, o.{c})', kind)} AS {c}"
        if c in columns
        else f"o.{c} AS {c}"
        for c, (name, kind) in zip(own, known.items(), strict=True)
        if name not in ("run_id", "step")
    )
    only = ", ".join(f"n.{c} AS {c}" for c in columns if c not in own)
    values = ", ".join(["run_id", "step", *filter(None, [both, only])])
    connection.execute(
        f"CREATE OR REPLACE TABLE pz_newest AS SELECT {values} "
        f"FROM pz_newest o FULL JOIN ({newest}) n USING (run_id, step)"
    )
    return True
