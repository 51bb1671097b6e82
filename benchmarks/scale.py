"""One catalogue at a million, ten million, a hundred million checkpoints.

What opening, indexing, the queries of `query.py` and adding one shard cost, in seconds,
disk and memory. There is no alternative beside it: the question is from which size on
something stops working, and docs/scale.md says what was found.

Every part runs in a process of its own, so that its peak memory is its own. The disk
that indexing needs is the greatest size of ``cache/`` while it runs, sampled; files
that DuckDB spills to are in it. Queries run from one open connection: ``first`` right
after opening, ``median`` over the following rounds, from a warm page cache where it is
large enough.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bulk
import synthetic
from query import QUERIES
from timing import digits, in_process, progress, report

import catalog
from catalog.index import in_place

ADDED = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--checkpoints", type=int, default=1_000_000)
    parser.add_argument("--rows-per-shard", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; default a temporary")
    parser.add_argument("--most-gb", type=float, default=30.0, help="disk that it may use")
    parser.add_argument(
        "--stored",
        type=int,
        default=in_place.STORED_CHECKPOINTS,
        help="greatest number of checkpoints that the index copies; 0: views in place",
    )
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    options = parser.parse_args()
    if options.quick:
        options.checkpoints, options.rows_per_shard = 10_000, 1000
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder) / "zoo"
        room(root.parent, options.checkpoints, options.most_gb)
        figures = measure(root, options)
    stored = options.checkpoints <= options.stored
    report("scale", checkpoints=options.checkpoints, stored=stored, **figures)


def room(folder: Path, checkpoints: int, most_gb: float) -> None:
    """Refuse to start what will not fit: about 300 bytes a checkpoint, index included."""
    need, free = 300 * checkpoints / 1e9, shutil.disk_usage(folder).free / 1e9
    if need > min(most_gb, 0.8 * free):
        raise SystemExit(
            f"{checkpoints:,} checkpoints need up to {need:.0f} GB; {free:.0f} GB are "
            f"free and --most-gb is {most_gb:g}. Name another disk: --folder DIR"
        )


def measure(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    n, rows = options.checkpoints, options.rows_per_shard

    def alone(function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        figures: dict[str, Any] = in_process(timed, options.stored, function, *arguments)
        return figures

    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "generate": lambda: alone(bulk.bulk_catalog, root, n, rows),
        "open": lambda: alone(shards, root),
        "index": lambda: watched(root / "cache", lambda: alone(count, root)),
        "reopen": lambda: alone(count, root),
        "queries": lambda: alone(queries, root, options.rounds),
        "add_one_shard": lambda: watched(root / "cache", lambda: alone(add, root, n)),
        "add_measures": lambda: alone(add_measures, root, n),
    }
    figures: dict[str, Any] = {}
    for name, part in parts.items():
        figures[name] = part()
        progress(f"{name}: {figures[name]}")
    return figures


def timed(stored: int, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """Seconds, peak memory of this process, and what the function returned."""
    in_place.STORED_CHECKPOINTS = stored
    started = time.perf_counter()
    result = function(*arguments)
    return {
        "seconds": digits(time.perf_counter() - started),
        "peak_gb": digits(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6),
        "result": result,
    }


def shards(root: Path) -> int:
    return len(catalog.open(root).snapshot.shards)


def count(root: Path) -> int:
    query = "SELECT count(*), avg(test_accuracy), avg(cka) FROM models"
    return int(catalog.open(root).sql(query).fetchall()[0][0])


def watched(folder: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Figures of work, with the size of a folder after it and the greatest meanwhile."""
    most, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            most.append(size(folder))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        figures = work()
    finally:
        ended.set()
        watcher.join()
    after = size(folder)
    figures["cache_gb"] = digits(after / 1e9)
    figures["peak_cache_gb"] = digits(max(after, *most) / 1e9)
    return figures


def size(folder: Path) -> int:
    """Bytes below a folder; files that vanish meanwhile count as nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def queries(root: Path, rounds: int) -> dict[str, Any]:
    zoo = catalog.open(root)
    count_of = zoo.sql("SELECT count(*) FROM models").fetchall()
    figures: dict[str, Any] = {"rows": count_of[0][0]}
    for name, query in QUERIES.items():
        seconds = []
        for _ in range(rounds + 1):
            started = time.perf_counter()
            answer = zoo.sql(query).fetchall()
            seconds.append(time.perf_counter() - started)
        if not answer:
            raise AssertionError(f"{name}: no rows")
        figures[name] = {
            "first": digits(seconds[0]),
            "median": digits(statistics.median(seconds[1:])),
        }
    return figures


def add(root: Path, first: int) -> int:
    """Commit one shard by the public `Writer`, and ask until it is in the answer."""
    with catalog.open(root).writer() as writer:
        synthetic.commit_metrics(writer, first, ADDED)
    if count(root) != first + ADDED:
        raise AssertionError("the added checkpoints are missing from the answer")
    return ADDED


def add_measures(root: Path, first: int) -> int:
    """The same with measures of the shard that `add` added."""
    with catalog.open(root).writer() as writer:
        columns = synthetic.GENERATIONS[1]
        synthetic.commit_measures(writer, 1, columns, first, ADDED)
    count(root)
    return ADDED


if __name__ == "__main__":
    main()
