"""Fetching a catalogue from the Hub, against `huggingface_hub.snapshot_download`.

Claim: `fetch` with every digest compared reaches at least 0.8 of the speed of
`snapshot_download`, which compares none, and 0.95 without. The server (the tests' own) runs
in a process bound to one core; clients are processes that start anew.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from timing import digits, progress, report, sizes

sys.path.insert(0, str(Path(__file__).parents[1]))

import catalog
from catalog import Layout, Param, Population
from tests.servers.hub import Hub

FETCH = """
import sys, catalog
catalog.fetch("hf://datasets/tester/zoo", sys.argv[1], verify={verify})
"""
SNAPSHOT = """
import sys
from huggingface_hub import snapshot_download
snapshot_download("tester/zoo", repo_type="dataset", local_dir=sys.argv[1], max_workers=8)
"""
CLIENTS = {
    "fetch": FETCH.format(verify=True),
    "fetch, sizes only": FETCH.format(verify=False),
    "snapshot_download": SNAPSHOT,
}


def build(root: Path, shards: int, megabytes: int) -> None:
    """Commit shards of noise."""
    zoo, size = catalog.open(root, create=True), 1 << 18
    layout = Layout((Param("w", (size,), (None,)),))
    rng = np.random.default_rng(0)
    for shard in range(shards):
        ids = [f"run-{shard}-{i}" for i in range(megabytes)]
        table = pa.table({"run_id": ids, "step": [0] * len(ids)})
        count = len(ids)
        runs = {"run_id": ids, "zoo": ["z"] * count, "source": ["trained"] * count}
        weights = rng.standard_normal((count, size), np.float32)
        with zoo.writer() as writer:
            population = Population.from_tensors({"w": weights}, layout, table)
            writer.commit(pa.table(runs), table, population)


def serve(folder: Path) -> None:
    """Serve a folder as a repository until stdin ends."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    with Hub() as hub:
        hub.create("tester/zoo")
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            if path.parent.name != "writers":
                name = path.relative_to(folder).as_posix()
                hub.commit("tester/zoo", {name: path.read_bytes()})
        print(json.dumps({"endpoint": hub.endpoint, "token": hub.token}), flush=True)
        sys.stdin.read()


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]))
        return
    options = sizes(__doc__, shards=(20, 2), megabytes=(100, 4), rounds=(5, 1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder / "zoo", options.shards, options.megabytes)
        catalog.publish(catalog.open(folder / "zoo"), folder / "there", license="mit")
        server = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(folder / "there")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())
        environment = {
            **os.environ,
            "HF_ENDPOINT": address["endpoint"],
            "HF_TOKEN": address["token"],
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HOME": str(folder / "hub"),
            "PHASEZOO_CACHE": str(folder / "cache"),
        }
        seconds: dict[str, list[float]] = {client: [] for client in CLIENTS}
        cpu: dict[str, list[float]] = {client: [] for client in CLIENTS}
        for round_ in range(options.rounds + 1):
            for client, code in CLIENTS.items():
                target = folder / "copy"
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                started = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-c", code, str(target)], env=environment, check=True
                )
                elapsed = time.perf_counter() - started
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                shutil.rmtree(target)
                if round_:
                    seconds[client].append(elapsed)
                    used = after.ru_utime + after.ru_stime
                    cpu[client].append(used - before.ru_utime - before.ru_stime)
            progress(f"round {round_} of {options.rounds}")
        server.communicate("")
        medians = {c: statistics.median(values) for c, values in seconds.items()}
        plain = medians["snapshot_download"]
        report(
            "remote speed",
            megabytes=options.shards * options.megabytes,
            shards=options.shards,
            seconds={c: digits(v) for c, v in medians.items()},
            cpu_seconds={c: digits(statistics.median(v)) for c, v in cpu.items()},
            speed={c: digits(plain / v) for c, v in medians.items()},
        )
        # A publish of what is there already.
        started = time.perf_counter()
        catalog.publish(catalog.open(folder / "zoo"), folder / "there", license="mit")
        report("unchanged publish", seconds=digits(time.perf_counter() - started))


if __name__ == "__main__":
    main()
