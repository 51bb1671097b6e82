"""Bytes that reading one tensor of every network of a remote catalogue moves.

Claim: of the weight files at most 1.1 times the payload + 64 KiB a shard are moved, for
tensors of any size; opening a remote catalogue reads one snapshot and the metadata files
that it names, and nothing per shard. A server on this machine counts.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from timing import report, sizes

sys.path.insert(0, str(Path(__file__).parents[1]))

import catalog
from catalog import Layout, Param, Population
from tests.servers.faults import Traffic
from tests.servers.files import serve_files


def resnet18(width: int) -> Layout:
    """Return the tensors of a ResNet-18 for CIFAR: 11.2 million parameters at width 64."""
    params: list[Param] = []

    def convolution(name: str, out: int, inside: int, size: int) -> None:
        params.append(Param(f"{name}.weight", (out, inside, size, size), (None,) * 4))

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            role = "buffer" if part.startswith("running") else "parameter"
            params.append(Param(f"{name}.{part}", (channels,), (None,), "float32", role))
        counter = f"{name}.num_batches_tracked"
        params.append(Param(counter, (), (), "int64", "counter"))

    convolution("conv1", width, 3, 3)
    norm("bn1", width)
    inside = width
    for stage in range(4):
        out = width << stage
        for block in range(2):
            name = f"layer{stage + 1}.{block}"
            convolution(f"{name}.conv1", out, inside, 3)
            norm(f"{name}.bn1", out)
            convolution(f"{name}.conv2", out, out, 3)
            norm(f"{name}.bn2", out)
            if block == 0 and stage:
                convolution(f"{name}.downsample.0", out, inside, 1)
                norm(f"{name}.downsample.1", out)
            inside = out
    params.append(Param("fc.weight", (10, inside), (None, None)))
    params.append(Param("fc.bias", (10,), (None,)))
    return Layout(tuple(params))


def build(root: Path, networks: int, per_shard: int, width: int) -> None:
    """Commit networks of noise; a shard has several of them."""
    zoo, layout = catalog.open(root, create=True), resnet18(width)
    rng = np.random.default_rng(0)
    for first in range(0, networks, per_shard):
        ids = [f"run-{i}" for i in range(first, min(first + per_shard, networks))]
        tensors = {
            p.name: np.zeros((len(ids), *p.shape), np.int64)
            if p.dtype == "int64"
            else rng.standard_normal((len(ids), *p.shape), np.float32)
            for p in layout
        }
        table = pa.table({"run_id": ids, "step": [0] * len(ids)})
        count = len(ids)
        runs = {"run_id": ids, "zoo": ["noise"] * count, "source": ["trained"] * count}
        with zoo.writer() as writer:
            population = Population.from_tensors(tensors, layout, table)
            writer.commit(pa.table(runs), table, population)


def many_rows(root: Path, checkpoints: int) -> None:
    """Commit checkpoints with metrics alone, many to a shard."""
    zoo = catalog.open(root, create=True)
    with zoo.writer() as writer:
        for first in range(0, checkpoints, 20_000):
            ids = [f"run-{i}" for i in range(first, min(first + 20_000, checkpoints))]
            count = len(ids)
            runs = {"run_id": ids, "zoo": ["z"] * count, "source": ["trained"] * count}
            table = pa.table({"run_id": ids, "step": [0] * count})
            writer.commit(pa.table(runs), table)


def main() -> None:
    options = sizes(
        __doc__, networks=(200, 8), shard=(10, 4), width=(64, 8), rows=(100_000, 1_000)
    )
    with tempfile.TemporaryDirectory() as name:
        folder, traffic = Path(name), Traffic()
        os.environ["PHASEZOO_CACHE"] = str(folder / "cache")
        build(folder / "zoo", options.networks, options.shard, options.width)
        catalog.publish(catalog.open(folder / "zoo"), folder / "there", license="mit")
        shards = -(-options.networks // options.shard)
        with serve_files(folder / "there", traffic) as url:
            there = catalog.open(url)
            opening = traffic.sent["other"]
            for tensor in ("layer4.1.conv2.weight", "conv1.weight", "bn1.weight"):
                traffic.clear()
                payload = there.read_tensor(tensor).nbytes
                moved = traffic.sent["weights"]
                report(
                    "remote bytes of one tensor",
                    tensor=tensor,
                    networks=options.networks,
                    shards=shards,
                    payload=payload,
                    moved=moved,
                    requests=len(traffic.matching("*weights/*")),
                    allowed=int(1.1 * payload + shards * (64 << 10)),
                    ratio=round(moved / payload, 4),
                    metadata=opening,
                )
        many_rows(folder / "many", options.rows)
        catalog.publish(catalog.open(folder / "many"), folder / "rows", license="mit")
        traffic.clear()
        with serve_files(folder / "rows", traffic) as url:
            there = catalog.open(url)
            there.sql("SELECT count(*) FROM runs").fetchall()
            report(
                "remote opening",
                checkpoints=options.rows,
                requests=len(traffic.requests),
                moved=traffic.sent["other"],
            )


if __name__ == "__main__":
    main()
