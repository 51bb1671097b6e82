"""Many writers and many readers of one catalogue for a long time.

Eight writers and eight readers work beside one process that compacts and collects garbage:
counts only grow, nobody waits for long, no error. Every process is its own: writers commit
shards of ten networks and measures of them, readers open the catalogue anew, count by SQL
and load a verified sample.
"""

from __future__ import annotations

import random
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from fault import Fault

import catalog
from catalog import Layout, Param, Population
from catalog.upkeep.compaction import compact
from catalog.upkeep.garbage import collect
from catalog.upkeep.verify import verify

LAYOUT = Layout((Param("w", (50, 20)), Param("b", (20,))))
NETWORKS = 10


class Writers:
    """Half a minute of work by all processes a trial, in the same catalogue."""

    at_once = 1
    seconds, writers, readers = 30.0, 8, 8

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._root = folder, folder / "zoo"
        catalog.open(self._root, create=True)

    def trial(self, number: int, size: int) -> dict[str, float]:
        """Let all processes work; commits, reads and packs, and the slowest of them.

        Raises
        ------
        Fault
            If anything is lost, or left behind.
        """
        before = self._count()
        end = time.time() + self.seconds
        workers = self.writers + self.readers + 1
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            # Names of networks begin with the trial: those of before stay.
            firsts = [self.writers * number + i for i in range(self.writers)]
            writing = [pool.submit(write, self._root, first, end) for first in firsts]
            reading = [
                pool.submit(read, self._root, seed, firsts, end)
                for seed in range(self.readers)
            ]
            upkeep = pool.submit(keep_up, self._root, end)
            wrote = [future.result() for future in writing]
            reads = [future.result() for future in reading]
            packs = upkeep.result()
        count = self._count()
        expected = before + NETWORKS * sum(commits for commits, _ in wrote)
        found = verify(self._root)
        if count != expected or found.problems or found.leftovers:
            raise Fault(f"{count} of {expected} networks, {found}")
        return {
            "commits": sum(commits for commits, _ in wrote),
            "reads": sum(many for many, _ in reads),
            "packs": packs,
            "slowest_commit_s": max(slowest for _, slowest in wrote),
            "slowest_read_s": max(slowest for _, slowest in reads),
        }

    def keep(self, number: int) -> None:
        """Keep the catalogue as it is, to look at."""
        shutil.copytree(self._root, self._folder / f"fault-{number}", dirs_exist_ok=True)

    def _count(self) -> int:
        query = "SELECT count(*) FROM models"
        return int(catalog.open(self._root).sql(query).fetchall()[0][0])


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


def read(root: Path, seed: int, writers: list[int], end: float) -> tuple[int, float]:
    """Count and load until the end; the number of reads and the longest one."""
    draw, seen, reads, slowest = random.Random(seed), 0, 0, 0.0
    while time.time() < end:
        started = time.perf_counter()
        store = catalog.open(root)
        count = store.sql("SELECT count(*) FROM models").fetchall()[0][0]
        if count < seen or count % NETWORKS:
            raise AssertionError(f"a reader counted {count} after {seen}")
        seen = count
        if count:
            writer = draw.choice(writers)
            where = f"zoo = 'w{writer}' ORDER BY run_id LIMIT 20"
            sample = store.load(where, verify=True) if _has(store, writer) else None
            if sample is not None:
                for run, weights in zip(sample["run_id"], sample.weights, strict=True):
                    number = int(run.split("-")[1])
                    if not (weights == 1000 * writer + number).all():
                        raise AssertionError(f"{run} has other weights")
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
