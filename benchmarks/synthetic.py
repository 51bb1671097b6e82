"""Synthetic populations and catalogues that the benchmarks run on.

Weights are Gaussian: reading and writing do not look at values, nothing is compressed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from timing import progress

import catalog
from catalog import Layout, Param, Population

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
    """N networks with Gaussian weights: `STEPS_PER_RUN` checkpoints of every run."""
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


MEASURES = (
    "hessian_top",
    "hessian_top_se",
    "hessian_trace",
    "hessian_trace_se",
    "connectivity",
    "connectivity_se",
    "cka",
    "cka_se",
    "phase_score",
    "boundary_distance",
    "sharpness",
    "predicted_accuracy",
)
GENERATIONS = (MEASURES[:6], MEASURES[4:10], MEASURES[8:])
"""Columns of each generation of measures; later ones measure some columns again."""


def metrics_catalog(root: Path, checkpoints: int, rows_per_shard: int) -> None:
    """A catalogue of checkpoints without weights, and three generations of measures.

    A shard of measures covers ten shards of checkpoints; a tenth of the values of each
    column is null.
    """
    with catalog.open(root, create=True).writer() as writer:
        for first in range(0, checkpoints, rows_per_shard):
            commit_metrics(writer, first, min(rows_per_shard, checkpoints - first))
        progress(f"{checkpoints:,} checkpoints committed")
        for generation, columns in enumerate(GENERATIONS):
            for first in range(0, checkpoints, 10 * rows_per_shard):
                n = min(10 * rows_per_shard, checkpoints - first)
                commit_measures(writer, generation, columns, first, n)
        progress(f"{len(GENERATIONS)} generations of measures committed")


def commit_metrics(writer: catalog.Writer, first: int, n: int) -> None:
    """Commit the runs and metrics of checkpoints first to first + n."""
    table = keys(first, n)
    rng = np.random.default_rng(first)
    accuracy, loss = rng.uniform(0.1, 1.0, n), rng.exponential(1.0, n)
    step = table["step"].to_numpy()
    metrics = {
        "epoch": step / 50,
        "train_loss": loss,
        "train_accuracy": accuracy,
        "train_evaluated": np.full(n, 1024),
        "validation_loss": loss * 1.1,
        "validation_accuracy": accuracy * 0.97,
        "test_loss": loss * 1.2,
        "test_accuracy": accuracy * 0.95,
        "finite": np.full(n, True),
    }
    for name, values in metrics.items():
        table = table.append_column(name, pa.array(values))
    writer.commit(configured(runs(table), first // STEPS_PER_RUN), table)


def commit_measures(
    writer: catalog.Writer,
    generation: int,
    columns: tuple[str, ...],
    first: int,
    n: int,
) -> None:
    """Commit one generation of measures of checkpoints first to first + n."""
    table = keys(first, n)
    rng = np.random.default_rng([first, generation])
    for name in columns:
        values = pa.array(rng.standard_normal(n), mask=rng.random(n) < 0.1)
        table = table.append_column(name, values)
    writer.commit_measures(table, f"generation_{generation}", {"seed": generation})


def configured(table: pa.Table, first: int) -> pa.Table:
    """Runs with the configuration of a grid: 10 widths by 20 learning rates."""
    number = np.arange(first, first + len(table))
    columns = {
        "architecture_name": np.where(number % 2, "cnn_small", "mlp").tolist(),
        "arch_id": np.where(number % 2, "cnn-small-8", "mlp-64-32").tolist(),
        "task_name": np.array(["digits", "mnist", "usps"])[number % 3].tolist(),
        "load_axis": ["width"] * len(table),
        "load": 2.0 ** (number % 10),
        "temperature_axis": ["lr"] * len(table),
        "temperature": 10.0 ** -(number // 10 % 20 / 5),
        "cell": [f"{i % 10}-{i // 10 % 20}" for i in number.tolist()],
        "seed": number // 200,
        "width": 2 ** (number % 10),
        "batch_size": 16 * 2 ** (number % 5),
        "lr": 10.0 ** -(number // 10 % 20 / 5),
        "label_noise": number % 4 / 10,
        "status": np.where(number % 50, "finished", "diverged").tolist(),
    }
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    zoos = pa.array([f"zoo_{i // 5000}" for i in number.tolist()])
    return table.set_column(table.column_names.index("zoo"), "zoo", zoos)
