"""Views over Parquet in place of the big tables, for catalogues too large to copy.

Up to `STORED_CHECKPOINTS` the index stores the tables `checkpoints` and `models`, which
answers queries in a fraction of the time. In larger catalogues a copy of every row would
take minutes and more disk than the shards, again for every added shard. There the index
stores only the small tables (runs, layouts, shards, the newest measures), and the rows of
checkpoints are read from their Parquet files. docs/scale.md has the measurements behind
this rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from catalog.index.precedence import WITH_ARCHITECTURE, precedence
from catalog.quoting import identifier
from catalog.storage.manifest import Manifest
from catalog.storage.measures import shown_sql

STORED_CHECKPOINTS = 20_000_000
"""Greatest number of committed checkpoints that the index stores."""

Connection = duckdb.DuckDBPyConnection


def too_large(manifests: Sequence[Manifest]) -> bool:
    """Return whether the rows of checkpoints stay in Parquet, given commit records."""
    kind = "checkpoints"
    total = sum(m.own[kind].rows for m in manifests if kind in m.own)
    return total > STORED_CHECKPOINTS


def keep_repeats(connection: Connection, source: str) -> None:
    """Store removed rows and repeated commits of checkpoints in ``pz_repeats``.

    Of a checkpoint that was committed several times, all commits are stored but the one
    that counts; see `precedence`.
    Only runs that were committed several times can have such checkpoints, because `Writer`
    makes sure that a shard holds a checkpoint once, with its run.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Database with ``shards``, ``pz_removed``, and ``runs`` with all commits.
    source : str
        SQL for the rows of checkpoints in Parquet.
    """
    repeated = "SELECT run_id FROM runs GROUP BY run_id HAVING count(*) > 1"
    later = f"row_number() OVER (PARTITION BY run_id, step ORDER BY {precedence('s')}) > 1"
    count = connection.execute(f"SELECT count(*) FROM ({repeated})").fetchall()[0][0]
    where = f"WHERE run_id IN ({repeated})" if count else "WHERE false"
    connection.execute(
        "CREATE TABLE pz_repeats AS SELECT shard, run_id, step "
        f"FROM {source} ANTI JOIN pz_removed USING (shard, run_id, step) "
        f"JOIN shards s USING (shard) {where} QUALIFY {later}"
    )
    connection.execute("INSERT INTO pz_repeats FROM pz_removed")


def view_queries(connection: Connection, source: str) -> dict[str, str]:
    """Return queries for ``checkpoints`` and ``models`` over an index of small tables.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        The index.
    source : str
        SQL for the rows of checkpoints in Parquet, in order of commit.
    """
    repeats = connection.execute("SELECT count(*) FROM pz_repeats").fetchall()[0][0]
    without = " ANTI JOIN pz_repeats USING (shard, run_id, step)" if repeats else ""
    return {
        "checkpoints": f"FROM {source}{without}",
        "models": f"SELECT {WITH_ARCHITECTURE}, c.* EXCLUDE (run_id), "
        "m.* EXCLUDE (run_id, step) "
        "FROM checkpoints c JOIN runs r USING (run_id) JOIN shards s USING (shard) "
        "LEFT JOIN pz_newest m USING (run_id, step)",
    }


def merge_newest(connection: Connection, newest: str, columns: Sequence[str]) -> bool:
    """Merge newer measures into ``pz_newest``.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        The index.
    newest : str
        Query for the newer measures: ``run_id``, ``step`` and ``columns``.
    columns : sequence of str
        Names of the newer measures, already quoted.

    Returns
    -------
    bool
        False, without a change, if a column has another type or spelling there.
    """
    known = {
        name: kind for name, kind, *_ in connection.execute("DESCRIBE pz_newest").fetchall()
    }
    fresh = connection.execute(f"DESCRIBE {newest}").fetchall()
    by_spelling = {name.lower(): name for name in known}
    for name, kind, *_ in fresh:
        if by_spelling.get(name.lower(), name) != name or known.get(name, kind) != kind:
            return False
    known_columns = list(map(identifier, known))
    merged = ", ".join(
        f"{shown_sql(name, f'coalesce(n.{c}, o.{c})', kind)} AS {c}"
        if c in columns
        else f"o.{c} AS {c}"
        for c, (name, kind) in zip(known_columns, known.items(), strict=True)
        if name not in ("run_id", "step")
    )
    added = ", ".join(f"n.{c} AS {c}" for c in columns if c not in known_columns)
    values = ", ".join(["run_id", "step", *filter(None, [merged, added])])
    connection.execute(
        f"CREATE OR REPLACE TABLE pz_newest AS SELECT {values} "
        f"FROM pz_newest o FULL JOIN ({newest}) n USING (run_id, step)"
    )
    return True
