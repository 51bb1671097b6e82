"""Reading one tensor of every network of a remote catalogue, from its cache and anew.

Claim: once its ranges are in the cache, `read_tensor` of a remote catalogue takes at most
1.2 times as long as of a local one. Anew, it is compared with what a user would write with
the offsets at hand: eight threads of urllib3, each asking for the ranges of one shard, into
one array. A web server (the tests' own) runs in a process bound to one core.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import urllib3
from timing import alternate, digits, milliseconds, progress, report, sizes

sys.path.insert(0, str(Path(__file__).parents[1]))

import catalog
from catalog import Layout, Param, Population
from tests.servers.files import serve_files

TENSOR = "b.weight"


def build(root: Path, shards: int, rows: int, width: int) -> None:
    """Commit shards of networks of three layers; the second one is read."""
    zoo = catalog.open(root, create=True)
    names = ("a.weight", TENSOR, "c.weight")
    layout = Layout(tuple(Param(n, (width, width), (None, None)) for n in names))
    rng = np.random.default_rng(0)
    with zoo.writer() as writer:
        for shard in range(shards):
            ids = [f"run-{shard:03}-{i:04}" for i in range(rows)]
            table = pa.table({"run_id": ids, "step": [0] * rows})
            runs = {"run_id": ids, "zoo": ["z"] * rows, "source": ["trained"] * rows}
            tensors = {
                n: rng.standard_normal((rows, width, width), np.float32) for n in names
            }
            population = Population.from_tensors(tensors, layout, table)
            writer.commit(pa.table(runs), table, population)


def plain_reader(zoo: catalog.Catalog, url: str) -> Callable[[], Any]:
    """Range requests by hand: the offsets are known, and one thread serves a shard."""
    chunks = [
        (m.files["weights"].path, c.first_row, c.rows, c.offset, c.row_bytes)
        for m in zoo.snapshot.manifests
        if m.content == "weights"
        for c in zoo._weights._chunks(m.shard)[TENSOR]
    ]
    total = sum(rows for _, _, rows, _, _ in chunks)
    size = chunks[0][4]
    pool = urllib3.PoolManager(maxsize=8)

    def read() -> Any:
        out = np.empty((total, size), np.uint8)
        places, first = [], 0
        for path, _, rows, offset, row_bytes in chunks:
            places.append((path, offset, rows * row_bytes, first))
            first += rows

        def fill(place: tuple[str, int, int, int]) -> None:
            path, offset, count, row = place
            span = {"Range": f"bytes={offset}-{offset + count - 1}"}
            data = pool.request("GET", f"{url}/{path}", headers=span).data
            out[row : row + count // size] = np.frombuffer(data, np.uint8).reshape(-1, size)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(fill, places))
        return out

    return read


def serve(folder: Path) -> None:
    """Serve a folder until stdin ends."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    with serve_files(folder) as url:
        print(url, flush=True)
        sys.stdin.read()


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]))
        return
    options = sizes(__doc__, shards=(20, 2), rows=(100, 8), width=(256, 32), rounds=(7, 2))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PHASEZOO_CACHE"] = str(folder / "cache")
        build(folder / "zoo", options.shards, options.rows, options.width)
        local = catalog.open(folder / "zoo")
        catalog.publish(local, folder / "there", license="mit")
        server = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(folder / "there")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        there = catalog.open(url)
        expected = local.read_tensor(TENSOR)
        np.testing.assert_array_equal(there.read_tensor(TENSOR), expected)
        warm = alternate(
            {
                "local": lambda: local.read_tensor(TENSOR),
                "cached": lambda: there.read_tensor(TENSOR),
            },
            options.rounds,
            rehearse=True,
        )
        plain = plain_reader(catalog.open(url), url)
        assert plain().tobytes() == expected.tobytes()
        cold: dict[str, list[float]] = {"ours": [], "plain": []}
        for round_ in range(options.rounds):
            shutil.rmtree(folder / "cache")
            again = catalog.open(url)  # its metadata is not part of the reading
            started = time.perf_counter()
            again.read_tensor(TENSOR)
            cold["ours"].append(time.perf_counter() - started)
            started = time.perf_counter()
            plain()
            cold["plain"].append(time.perf_counter() - started)
            progress(f"round {round_ + 1} of {options.rounds}, anew")
        server.communicate("")
    medians = {key: statistics.median(values) for key, values in cold.items()}
    report(
        "remote read",
        megabytes=digits(expected.nbytes / 1e6),
        shards=options.shards,
        ms=milliseconds({**warm, **{f"anew, {k}": v for k, v in medians.items()}}),
        times_local=digits(warm["cached"] / warm["local"]),
        times_plain=digits(medians["ours"] / medians["plain"]),
        bars={"times_local": 1.2},
    )


if __name__ == "__main__":
    main()
