"""Fetching a catalogue, against the plain download of the same files.

Claim: `fetch` with every digest compared reaches at least 0.8 of the speed of what a user
would write, which compares none, and 0.95 without. From the Hub that is
`huggingface_hub.snapshot_download`, from S3 eight threads of boto3's `download_file` (one
request a file, as the local S3 reads a whole object for every range). The servers (the
tests' own) run in a process bound to one core; clients are processes that start anew.

Beside it: publishing a catalogue of 100 shards and 10,000 checkpoints that has not changed.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from timing import digits, progress, report, sizes

sys.path.insert(0, str(Path(__file__).parents[1]))

import catalog
from catalog import Layout, Param, Population
from tests.servers.hub import Hub
from tests.servers.s3 import CREDENTIALS, serve_s3

FETCH = """
import sys, catalog
catalog.fetch({address!r}, sys.argv[1], verify={verify})
"""
SNAPSHOT = """
import sys
from huggingface_hub import snapshot_download
snapshot_download("tester/zoo", repo_type="dataset", local_dir=sys.argv[1], max_workers=8)
"""
COPY = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import boto3
from boto3.s3.transfer import TransferConfig
client = boto3.client("s3")
whole = TransferConfig(multipart_threshold=1 << 40)
pages = client.get_paginator("list_objects_v2").paginate(Bucket="zoos", Prefix="zoo/")
def copy(key):
    path = Path(sys.argv[1], key)
    path.parent.mkdir(parents=True, exist_ok=True)
    client.download_file("zoos", key, str(path), Config=whole)
with ThreadPoolExecutor(8) as pool:
    list(pool.map(copy, [o["Key"] for page in pages for o in page["Contents"]]))
"""
ADDRESSES = {"hub": "hf://datasets/tester/zoo", "s3": "s3://zoos/zoo"}
PLAIN = {"hub": ("snapshot_download", SNAPSHOT), "s3": ("boto3", COPY)}


def build(root: Path, shards: int, rows: int, size: int) -> None:
    """Commit shards of noise."""
    zoo = catalog.open(root, create=True)
    layout = Layout((Param("w", (size,), (None,)),))
    rng = np.random.default_rng(0)
    with zoo.writer() as writer:
        for shard in range(shards):
            ids = [f"run-{shard}-{i}" for i in range(rows)]
            table = pa.table({"run_id": ids, "step": [0] * rows})
            runs = {"run_id": ids, "zoo": ["z"] * rows, "source": ["trained"] * rows}
            weights = rng.standard_normal((rows, size), np.float32)
            population = Population.from_tensors({"w": weights}, layout, table)
            writer.commit(pa.table(runs), table, population)


def serve(kind: str, folder: Path) -> None:
    """Serve a folder as a repository or a bucket until stdin ends."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "writers"
    }
    if kind == "hub":
        with Hub() as hub:
            hub.create("tester/zoo")
            for name, path in files.items():
                hub.commit("tester/zoo", {name: path.read_bytes()})
            wait({"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.token})
    else:
        import boto3

        with serve_s3("zoos") as url:
            for name, path in files.items():
                boto3.client("s3").upload_file(str(path), "zoos", f"zoo/{name}")
            wait({"AWS_ENDPOINT_URL": url, **CREDENTIALS})


def wait(environment: dict[str, str]) -> None:
    """Say how to reach the server, and wait for the end."""
    print(json.dumps(environment), flush=True)
    sys.stdin.read()


def timed(code: str, target: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Run a client; return its wall and processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, str(target)], env=environment, check=True)
    elapsed = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(target)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return elapsed, used


def compare(kind: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Time the clients of one kind of server, in an order drawn anew every round."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", kind, str(folder / "there")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    environment = {
        **os.environ,
        **json.loads(server.stdout.readline()),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HOME": str(folder / "hub"),
        "PHASEZOO_CACHE": str(folder / "cache"),
    }
    plain, code = PLAIN[kind]
    clients = {
        "fetch": FETCH.format(address=ADDRESSES[kind], verify=True),
        "fetch, sizes only": FETCH.format(address=ADDRESSES[kind], verify=False),
        plain: code,
    }
    seconds: dict[str, list[tuple[float, float]]] = {client: [] for client in clients}
    order, draw = list(clients), random.Random(0)
    for round_ in range(rounds + 1):
        draw.shuffle(order)
        for client in order:
            measured = timed(clients[client], folder / "copy", environment)
            if round_:
                seconds[client].append(measured)
        progress(f"{kind}: round {round_} of {rounds}")
    server.communicate("")
    wall = {c: statistics.median(w for w, _ in times) for c, times in seconds.items()}
    cpu = {c: statistics.median(u for _, u in times) for c, times in seconds.items()}
    return {
        "seconds": {c: digits(v) for c, v in wall.items()},
        "cpu_seconds": {c: digits(v) for c, v in cpu.items()},
        "speed": {c: digits(wall[plain] / v) for c, v in wall.items()},
    }


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], Path(sys.argv[3]))
        return
    options = sizes(
        __doc__,
        shards=(20, 2),
        megabytes=(100, 4),
        rounds=(5, 1),
        checkpoints=(10_000, 200),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder / "zoo", options.shards, options.megabytes, 1 << 18)
        catalog.publish(catalog.open(folder / "zoo"), folder / "there", license="mit")
        shutil.rmtree(folder / "zoo")
        for kind in ADDRESSES:
            report(
                f"fetch from {kind}",
                megabytes=options.shards * options.megabytes,
                shards=options.shards,
                **compare(kind, folder, options.rounds),
                bars={"fetch": 0.8, "fetch, sizes only": 0.95},
            )
        shutil.rmtree(folder / "there")
        build(folder / "many", 100, options.checkpoints // 100, 1000)
        zoo = catalog.open(folder / "many")
        catalog.publish(zoo, folder / "again", license="mit")
        seconds = []
        for _ in range(options.rounds):
            started = time.perf_counter()
            catalog.publish(zoo.refreshed(), folder / "again", license="mit")
            seconds.append(time.perf_counter() - started)
        report(
            "unchanged publish",
            shards=100,
            checkpoints=options.checkpoints,
            seconds=digits(statistics.median(seconds)),
            bars={"seconds": 2},
        )


if __name__ == "__main__":
    main()
