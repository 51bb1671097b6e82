"""Many writers and many readers of one catalogue for a long time.

Claim: eight writers and eight readers work for ten minutes beside one process that
compacts and collects garbage: counts only grow, nobody waits for long, no error.

Every process is its own: writers commit shards of ten networks and measures of them,
readers open the catalogue anew, count by SQL and load a verified sample. What the
slowest single commit and the slowest single read took is reported.
"""

from __future__ import annotations

import random
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from timing import digits, progress, report, sizes

import catalog
from catalog import Layout, Param, Population
from catalog.upkeep.compaction import compact
from catalog.upkeep.garbage import collect
from catalog.verify import verify

LAYOUT = Layout((Param("w", (50, 20)), Param("b", (20,))))
NETWORKS = 10


def main() -> None:
    options = sizes(__doc__, minutes=(10.0, 0.1), writers=(8, 2), readers=(8, 2))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "zoo"
        catalog.open(root, create=True)
        end = time.time() + 60 * options.minutes
        workers = options.writers + options.readers + 1
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            writers = [pool.submit(write, root, i, end) for i in range(options.writers)]
            readers = [pool.submit(read, root, i, end) for i in range(options.readers)]
            upkeep = pool.submit(keep_up, root, end)
            while time.time() < end:
                time.sleep(min(30, max(end - time.time(), 0)))
                progress(f"{max(end - time.time(), 0):.0f} s left")
            wrote = [future.result() for future in writers]
            reads = [future.result() for future in readers]
            packs = upkeep.result()
        committed = NETWORKS * sum(commits for commits, _ in wrote)
        count = catalog.open(root).sql("SELECT count(*) FROM models").fetchall()[0][0]
        found = verify(root)
        if count != committed or found.problems or found.leftovers:
            raise AssertionError(f"{count} of {committed} networks, {found}")
    report(
        "soak",
        minutes=options.minutes,
        writers=options.writers,
        readers=options.readers,
        commits=sum(commits for commits, _ in wrote),
        reads=sum(count for count, _ in reads),
        packs=packs,
        slowest_commit_s=digits(max(slowest for _, slowest in wrote)),
        slowest_read_s=digits(max(slowest for _, slowest in reads)),
    )


def write(root: Path, writer: int, end: float) -> tuple[int, float]:
    """Commit until the end; the number of commits and the longest one."""
    commits, slowest = 0, 0.0
    while time.time() < end:
        started = time.perf_counter()
        with catalog.open(root).writer() as out:
            ids = [f"w{writer}-{commits}-{i}" for i in range(NETWORKS)]
            table = pa.table({"run_id": ids, "step": [0] * NETWORKS})
            weights = np.full((NETWORKS, LAYOUT.d), 1000 * writer + commits, np.float32)
            runs = pa.table(
                {
                    "run_id": ids,
                    "zoo": [f"w{writer}"] * NETWORKS,
                    "source": ["trained"] * 10,
                }
            )
            out.commit(runs, table, Population(weights, LAYOUT, table))
            if commits % 4 == 0:
                values = pa.array([float(commits)] * NETWORKS)
                out.commit_measures(table.append_column("x", values), "x", {})
        slowest = max(slowest, time.perf_counter() - started)
        commits += 1
        time.sleep(0.5)
    return commits, slowest


def read(root: Path, reader: int, end: float) -> tuple[int, float]:
    """Count and load until the end; the number of reads and the longest one."""
    draw, seen, reads, slowest = random.Random(reader), 0, 0, 0.0
    while time.time() < end:
        started = time.perf_counter()
        store = catalog.open(root)
        count = store.sql("SELECT count(*) FROM models").fetchall()[0][0]
        if count < seen or count % NETWORKS:
            raise AssertionError(f"reader {reader} counted {count} after {seen}")
        seen = count
        if count:
            writer = draw.randrange(8)
            where = f"zoo = 'w{writer}' ORDER BY run_id LIMIT 20"
            sample = store.load(where, verify=True) if _has(store, writer) else None
            if sample is not None:
                for run, weights in zip(sample["run_id"], sample.weights, strict=True):
                    number = int(run.split("-")[1])
                    if not (weights == 1000 * writer + number).all():
                        raise AssertionError(f"reader {reader}: {run} has other weights")
        slowest = max(slowest, time.perf_counter() - started)
        reads += 1
        time.sleep(0.5)
    return reads, slowest


def _has(store: Any, writer: int) -> bool:
    query = f"SELECT count(*) FROM runs WHERE zoo = 'w{writer}'"
    return bool(store.sql(query).fetchall()[0][0])


def keep_up(root: Path, end: float) -> int:
    """Compact and collect garbage every twenty seconds; the number of packs."""
    packs = 0
    while time.time() < end:
        time.sleep(min(20, max(end - time.time(), 0)))
        packs += bool(compact(root).shards)
        collect(root, grace=30)
    return packs


if __name__ == "__main__":
    main()
