"""A catalogue of very many checkpoints, written in blocks straight to its files.

`Writer` checks row by row what strangers give it, which at a hundred million rows takes
hours. Here the tables are made in numpy, in blocks of bounded size, as the same Parquet
files with the same manifests; `phasezoo verify` accepts them. Every run has twenty
checkpoints, and the last of each has been measured, in three generations.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import synthetic
from timing import progress

from catalog.names import canonical_json
from catalog.schema import conform
from catalog.storage.folder import Folder
from catalog.storage.manifest import File, Manifest
from catalog.storage.measures import measure_table
from catalog.storage.snapshot import newest_snapshot
from catalog.storage.splits import split

STEPS = synthetic.STEPS_PER_RUN
LAST = 100 * (STEPS - 1)


def bulk_catalog(root: Path, checkpoints: int, rows_per_shard: int) -> int:
    """Write the catalogue; the bytes of its files.

    Parameters
    ----------
    checkpoints : int
        How many, a multiple of the 20 of each run.
    rows_per_shard : int
        Checkpoints of a shard, a multiple of 20; ten shards share one of measures.
    """
    if checkpoints % STEPS or rows_per_shard % STEPS:
        raise ValueError(f"Checkpoints and rows of a shard must be multiples of {STEPS}.")
    block = _Block(Folder(root))
    firsts = range(0, checkpoints // STEPS, rows_per_shard // STEPS)
    for count, first in enumerate(firsts):
        last = min(first + rows_per_shard // STEPS, checkpoints // STEPS)
        tables = {"runs": runs(first, last), "checkpoints": metrics(first, last)}
        block.commit("metrics", tables)
        if count % 50 == 49:
            progress(f"{count + 1:,} of {len(firsts):,} shards written")
    for generation, columns in enumerate(synthetic.GENERATIONS):
        for first in firsts[::10]:
            last = min(first + 10 * rows_per_shard // STEPS, checkpoints // STEPS)
            table = measured(first, last, generation, columns)
            block.commit("measures", {"measures": table}, columns)
    newest_snapshot(block.folder)
    return block.bytes


def runs(first: int, last: int) -> pa.Table:
    """Runs first to last, with their configuration and fixed splits."""
    plain = pa.table({"run_id": _ids(first, last)})
    plain = plain.append_column("zoo", pa.array([""] * len(plain)))
    plain = plain.append_column("source", pa.array(["trained"] * len(plain)))
    table = synthetic.configured(plain, first)
    zoos, cells = table["zoo"].to_pylist(), table["cell"].to_pylist()
    known = {
        key: split(key) for key in {f"{z}\0{c}" for z, c in zip(zoos, cells, strict=True)}
    }
    known |= {zoo: split(zoo) for zoo in set(zoos)}
    splits = {
        "split_by_run": [split(run_id) for run_id in table["run_id"].to_pylist()],
        "split_by_cell": [known[f"{z}\0{c}"] for z, c in zip(zoos, cells, strict=True)],
        "split_by_zoo": [known[zoo] for zoo in zoos],
    }
    number = np.arange(first, last)
    more = {"steps": np.full(len(number), LAST), **splits}
    for name, values in more.items():
        table = table.append_column(name, pa.array(values))
    return conform(table, "runs", ("run_id", "zoo", "source"))


def metrics(first: int, last: int) -> pa.Table:
    """Checkpoints of runs first to last: learning curves that end anywhere."""
    n = (last - first) * STEPS
    rng = np.random.default_rng(first)
    step = np.tile(np.arange(STEPS) * 100, last - first)
    end = np.repeat(rng.uniform(0.1, 1.0, last - first), STEPS)
    accuracy = 0.1 + (end - 0.1) * step / LAST + rng.normal(0, 0.01, n)
    loss = np.exp(-3 * accuracy) + rng.exponential(0.1, n)
    table = pa.table(
        {
            "run_id": _ids(first, last).take(np.repeat(np.arange(last - first), STEPS)),
            "step": step,
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
    )
    return conform(table, "checkpoints", ("run_id", "step"))


def measured(first: int, last: int, generation: int, columns: tuple[str, ...]) -> pa.Table:
    """One generation of measures of the last checkpoint of runs first to last."""
    rng = np.random.default_rng([first, generation])
    n = last - first
    table = pa.table({"run_id": _ids(first, last), "step": np.full(n, LAST)})
    for name in columns:
        values = pa.array(rng.standard_normal(n), mask=rng.random(n) < 0.1)
        table = table.append_column(name, values)
    return measure_table(table, f"generation_{generation}", {"seed": generation})


def _ids(first: int, last: int) -> pa.Array:
    return pa.array([synthetic.run_id(i) for i in range(first, last)])


class _Block:
    """Commits tables as shards of one writer, manifest last."""

    def __init__(self, folder: Folder) -> None:
        folder.create()
        self.folder, self.bytes = folder, 0
        self._writer, self._count = secrets.token_hex(6), 0

    def commit(
        self, content: str, tables: dict[str, pa.Table], columns: tuple[str, ...] = ()
    ) -> None:
        self._count += 1
        shard = f"{self._writer}-{self._count:06d}"
        if content == "metrics":
            points = tables["checkpoints"]
            at = points.column_names.index("shard")
            names = pa.array([shard]).take(pa.array(np.zeros(len(points), np.int64)))
            tables["checkpoints"] = points.set_column(at, "shard", names)
        manifest = Manifest(
            shard=shard,
            content=content,
            sequence=self._count,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            writer="phasezoo benchmarks",
            files={kind: self._file(kind, shard, t) for kind, t in tables.items()},
            measure_columns=columns,
        )
        text = canonical_json(manifest.to_json())
        self.folder.write(self.folder.manifest(shard), text.encode())

    def _file(self, kind: str, shard: str, table: pa.Table) -> File:
        name = f"{kind}/{shard}.parquet"
        path = self.folder.root / name
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table, path, compression="zstd", row_group_size=1 << 17)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        self.bytes += size
        return File(name, size, digest, len(table))
