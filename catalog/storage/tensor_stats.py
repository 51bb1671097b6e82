"""Hashes and moments of every tensor of every checkpoint."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from blake3 import blake3

from catalog.dtypes import Array, dtype, widen
from catalog.storage.shard import ShardSource, stored_params

STATS_BYTES = 2 << 20
"""Bytes to process at a time, so that float64 copies stay in the processor's cache."""


def tensor_stats(population: ShardSource, shard: str) -> pa.Table:
    """Compute hash and moments of every tensor, one row per checkpoint and tensor.

    Returns
    -------
    pyarrow.Table
        Columns ``shard, row, tensor, blake3, l2, mean, std, min, max, nonfinite``.
        ``blake3`` is the hash of the tensor's bytes as stored. Moments are computed in
        float64; they are not finite where the tensor is not, and null for complex tensors.
    """
    parts = []
    for param in stored_params(population.layout):
        step = max(STATS_BYTES // param.nbytes, 1)
        for first in range(0, len(population), step):
            rows = slice(first, min(first + step, len(population)))
            stored = np.ascontiguousarray(population.stored(param.name, rows))
            values = (
                widen(stored, "bfloat16") if param.dtype == "bfloat16" else stored
            ).reshape(len(stored), -1)
            moments = None if dtype(param.dtype).storage.kind == "c" else _moments(values)
            parts.append(_part(shard, rows, param.name, row_hashes(stored), moments))
    return pa.concat_tables(parts) if parts else _part(shard, slice(0, 0), "", [], None)


def row_hashes(stored: Array) -> list[bytes]:
    """Return the blake3 hash of each row's bytes."""
    data = stored.reshape(-1).view(np.uint8).data
    size = len(data) // max(len(stored), 1)
    return [blake3(data[i : i + size]).digest() for i in range(0, len(data), size)]


def _moments(values: Array) -> dict[str, Array]:
    with np.errstate(invalid="ignore", over="ignore"):
        wide = values.astype(np.float64)
        squares = np.einsum("ij,ij->i", wide, wide)
        mean, least, greatest = wide.mean(1), wide.min(1), wide.max(1)
        nonfinite = np.zeros(len(wide), np.int64)
        suspects = np.flatnonzero(~np.isfinite(squares))
        nonfinite[suspects] = (~np.isfinite(wide[suspects])).sum(1)
        wide -= mean[:, None]
        variance = np.einsum("ij,ij->i", wide, wide) / wide.shape[1]
    return {
        "l2": np.sqrt(squares),
        "mean": mean,
        "std": np.sqrt(variance),
        "min": least,
        "max": greatest,
        "nonfinite": nonfinite,
    }


def _part(
    shard: str,
    rows: slice,
    tensor: str,
    hashes: list[bytes],
    moments: dict[str, Array] | None,
) -> pa.Table:
    n = rows.stop - rows.start
    columns = {
        "shard": pa.array([shard] * n, pa.string()),
        "row": pa.array(np.arange(rows.start, rows.stop), pa.int64()),
        "tensor": pa.array([tensor] * n, pa.string()),
        "blake3": pa.array(hashes, pa.binary(32)),
    }
    for name in ("l2", "mean", "std", "min", "max", "nonfinite"):
        kind = pa.int64() if name == "nonfinite" else pa.float64()
        columns[name] = (
            pa.nulls(n, kind) if moments is None else pa.array(moments[name], kind)
        )
    return pa.table(columns)
