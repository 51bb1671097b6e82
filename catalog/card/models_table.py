"""The view `models` as one Parquet file: the default configuration of a published card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.catalog import Catalog

MOST_CHECKPOINTS = 1_000_000
"""Checkpoints above which no file is written, because every publish rewrites it."""

_ROWS = 10_000
_BYTES = 64 << 20
"""Most rows and bytes of a row group, unless one row is larger."""


def write_models(catalog: Catalog, path: Path) -> int:
    """Write all rows and columns of `models`, sorted by run and step.

    Equal catalogues give equal bytes with one version of pyarrow. Memory is that of the
    sort, which DuckDB bounds, and of one row group.

    Returns
    -------
    int
        Number of rows.
    """
    answer = catalog.sql("FROM models ORDER BY run_id, step")
    rows = 0
    with (
        answer.to_arrow_reader(_ROWS) as reader,
        pq.ParquetWriter(path, reader.schema, compression="zstd") as writer,
    ):
        for batch in reader:
            for part in _parts(batch):
                writer.write_batch(part)
                rows += len(part)
    return rows


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield a batch, in halves as long as it is larger than a row group may be."""
    if len(batch) < 2 or batch.nbytes <= _BYTES:
        yield batch
        return
    half = len(batch) // 2
    yield from _parts(batch.slice(0, half))
    yield from _parts(batch.slice(half))
