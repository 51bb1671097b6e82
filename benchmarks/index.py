"""The SQL index of a million checkpoints: rebuilding it, and adding to it.

Claims: a rebuild from the shards takes at most 30 seconds; a new shard of 1,000
checkpoints, and a new shard of 1,000 measures, is in the answer of the first query of
a freshly opened catalogue at most one second after its commit began.

Compared with what one would do without an index that knows what it holds:

- rebuild: DuckDB reads the same Parquet files once (by glob, no check of hashes, no
  newest-wins) and writes the three tables;
- adding: a rebuild, that is the time above.

Fair because every time ends with an answered query over `models`, and includes what a
user waits for: `Writer` with its syncs, publishing the snapshot, opening, indexing.
``open`` is a freshly opened catalogue whose index is up to date. The catalogue is in
the page cache.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import synthetic
from timing import alternate, digits, progress, report, sizes

import catalog
from catalog.quoting import literal

ADDED = 1000


def main() -> None:
    options = sizes(__doc__, checkpoints=(1_000_000, 10_000), rounds=(5, 2))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "zoo"
        synthetic.metrics_catalog(root, options.checkpoints, rows_per_shard=1000)
        shards = len(catalog.open(root).snapshot.shards)
        medians = measure_rebuild(root, Path(folder), options.rounds)
        medians |= measure_adding(root, options.checkpoints, options.rounds)
    report(
        "index",
        checkpoints=options.checkpoints,
        shards=shards,
        seconds={name: digits(value) for name, value in medians.items()},
        rebuild_times_plain=digits(medians["rebuild"] / medians["plain_duckdb"]),
        bars_seconds={"rebuild": 30, "add_checkpoints": 1, "add_measures": 1},
    )


def measure_rebuild(root: Path, folder: Path, rounds: int) -> dict[str, float]:
    def rebuild() -> None:
        shutil.rmtree(root / "cache", ignore_errors=True)
        count(root)

    contestants = {"rebuild": rebuild, "plain_duckdb": lambda: plain(root, folder)}
    medians = alternate(contestants, rounds)
    return medians | alternate({"open": lambda: count(root)}, 3 * rounds)


def plain(root: Path, folder: Path) -> int:
    path = folder / "plain.duckdb"
    path.unlink(missing_ok=True)
    with duckdb.connect(path) as connection:
        for kind in ("runs", "checkpoints", "measures"):
            connection.execute(
                f"CREATE TABLE {kind} AS FROM read_parquet("
                f"{literal(f'{root}/{kind}/*.parquet')}, union_by_name=true)"
            )
        query = "SELECT count(*) FROM checkpoints JOIN runs USING (run_id)"
        return int(connection.execute(query).fetchall()[0][0])


def measure_adding(root: Path, first: int, rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {"add_checkpoints": [], "add_measures": []}
    columns = synthetic.GENERATIONS[1]
    for i in range(rounds):
        at = first + i * ADDED

        def checkpoints(writer: catalog.Writer, at: int = at) -> None:
            synthetic.commit_metrics(writer, at, ADDED)

        def measures(writer: catalog.Writer, at: int = at) -> None:
            synthetic.commit_measures(writer, 1, columns, at, ADDED)

        seconds["add_checkpoints"].append(seconds_to_answer(root, checkpoints))
        seconds["add_measures"].append(seconds_to_answer(root, measures))
        progress(f"added {i + 1} of {rounds}")
        if count(root) != at + ADDED:
            raise AssertionError("checkpoints are missing from the answer")
    return {name: statistics.median(values) for name, values in seconds.items()}


def seconds_to_answer(root: Path, commit: Callable[[catalog.Writer], None]) -> float:
    zoo = catalog.open(root)
    started = time.perf_counter()
    with zoo.writer() as writer:
        commit(writer)
    count(root)
    return time.perf_counter() - started


def count(root: Path) -> int:
    query = "SELECT count(*), avg(test_accuracy), avg(cka) FROM models"
    return int(catalog.open(root).sql(query).fetchall()[0][0])


if __name__ == "__main__":
    main()
