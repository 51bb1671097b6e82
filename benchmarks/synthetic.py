"""Synthetic populations and catalogues that the benchmarks run on.

Weights are Gaussian: reading and writing do not look at values, nothing is compressed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

import catalog
from catalog import Layout, Param, Population
from timing import progress

CNN_SMALL = (
    ("conv1.weight", (8, 1, 5, 5)),
    ("conv1.bias", (8,)),
    ("conv2.weight", (6, 8, 5, 5)),
    ("conv2.bias", (6,)),
    ("conv3.weight", (4, 6, 2, 2)),
    ("conv3.bias", (4,)),
    ("fc1.weight", (20, 36)),
    ("fc1.bias", (20,)),
    ("fc2.weight", (10, 20)),
    ("fc2.bias", (10,)),
)
STEPS_PER_RUN = 20


def layout(shapes: tuple[tuple[str, tuple[int, ...]], ...] = CNN_SMALL) -> Layout:
    """Layout of the named shapes, float32, without symmetries."""
    return Layout(tuple(Param(name, shape) for name, shape in shapes))


def population(n: int, of: Layout, seed: int = 0) -> Population:
    """n networks with Gaussian weights: `STEPS_PER_RUN` checkpoints of every run."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((n, of.d), dtype=np.float32)
    return Population(weights, of, keys(0, n))


def keys(first: int, n: int) -> pa.Table:
    """``run_id`` and ``step`` of checkpoints first to first + n."""
    numbers = range(first, first + n)
    return pa.table(
        {
            "run_id": [run_id(i // STEPS_PER_RUN) for i in numbers],
            "step": [i % STEPS_PER_RUN * 100 for i in numbers],
        }
    )


def run_id(i: int) -> str:
    """Thirty-two hex digits that look like a hash: neighbours are unlike."""
    mixed = (i * 0x9E3779B97F4A7C15F39CC0605CEDC835) % (1 << 128)
    return f"{mixed:032x}"


def runs(table: pa.Table, zoo: str = "synthetic") -> pa.Table:
    """Minimal ``runs`` of a table of checkpoints."""
    ids = table["run_id"].unique()
    names = pa.array([zoo] * len(ids))
    sources = pa.array(["trained"] * len(ids))
    return pa.table({"run_id": ids, "zoo": names, "source": sources})


def weights_catalog(root: Path, networks: Population) -> catalog.Catalog:
    """A catalogue that holds one population as one shard."""
    zoo = catalog.open(root, create=True)
    with zoo.writer() as writer:
        table = networks.table
        writer.commit(runs(table), table, networks, '{"name":"cnn_small"}')
    progress(f"catalogue of {len(networks):,} networks written")
    return zoo.refreshed()
