"""Reading of tensors of a shard, at recorded offsets or else through pyarrow.

Offsets are trusted only while the size and footer of the file match the manifest. A file
that another tool has rewritten (a copy, or a conversion on a hub) is read by pyarrow,
which gives the same numbers more slowly.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from catalog.dtypes import Array, dtype
from catalog.errors import ShardCorrupt, missing
from catalog.layout import Layout, Param
from catalog.storage.copying import run_parallel
from catalog.storage.inside_folder import check_inside
from catalog.storage.manifest import Manifest
from catalog.storage.shard import RUN_ID, STEP, Chunk, footer_digest, stored_params
from catalog.storage.untrusted import check_rewritten, read_columns, read_tensor

_PIECE = 8 << 20


class ShardReader:
    """Tensors of the rows of one shard.

    Parameters
    ----------
    path : Path
        The weight file.
    manifest : Manifest
        Commit record of the shard.
    layout : Layout
        Tensors of the shard.
    chunks : mapping of str to list of Chunk
        Offsets by tensor, in order of rows.

    Attributes
    ----------
    trusted : bool
        Whether the size and footer of the file match the manifest, so that offsets hold.

    Raises
    ------
    ShardCorrupt
        If the file is missing, truncated, or is not a shard of this layout.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        layout: Layout,
        chunks: Mapping[str, list[Chunk]],
    ) -> None:
        self.path, self.layout = path, layout
        self._manifest, self._chunks = manifest, chunks
        check_inside(path.parents[2], path)  # weights/<arch_id>/<shard>.parquet
        self._descriptor = self._opened(path)
        weakref.finalize(self, os.close, self._descriptor)
        self._announced: set[str] = set()
        self._size = size = os.fstat(self._descriptor).st_size
        recorded = manifest.files["weights"]
        self.trusted = size == recorded.bytes and self._has_footer(path, manifest)
        if self.trusted:
            self._check_chunks(size)
        else:
            check_rewritten(path, recorded, layout)

    def _opened(self, path: Path) -> int:
        """Return a descriptor of the file, which the reader closes in the end."""
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise missing(path) from error
        except OSError as error:
            raise ShardCorrupt(f"{path} cannot be read: {error.strerror}.") from error

    def _has_footer(self, path: Path, manifest: Manifest) -> bool:
        """Report if the file ends with the footer that was committed."""
        return footer_digest(path) == (manifest.footer_sha256, manifest.footer_bytes)

    def __reduce__(self) -> tuple[Any, ...]:
        path = self.path.absolute()
        return ShardReader, (path, self._manifest, self.layout, self._chunks)

    def reopened(self) -> ShardReader:
        """Return a new reader of the same shard with a separate file descriptor."""
        return ShardReader(self.path, self._manifest, self.layout, self._chunks)

    def read(self, tensor: str, rows: Array, out: Array) -> None:
        """Fill ``out`` (len(rows), *shape) with one tensor of the given rows.

        Parameters
        ----------
        tensor : str
            Name of the tensor.
        rows : ndarray of int64
            Rows of the shard, in any order.
        out : ndarray
            Destination in the storage dtype, C-contiguous along all but the first axis.
        """
        param = self.layout[tensor]
        if not len(rows):
            return
        self._check_rows(int(rows.min()), int(rows.max()))
        if not param.size:
            return
        if not self.trusted:
            out[...] = self._rewritten(param)[rows]
            return
        self._check_size()
        if len(rows) == rows[-1] - rows[0] + 1 and (np.diff(rows) == 1).all():
            self._contiguous(param, int(rows[0]), out)
        else:
            for chunk, values in zip(
                self._chunks[tensor], self._views[tensor], strict=True
            ):
                inside = (rows >= chunk.first_row) & (rows < chunk.first_row + chunk.rows)
                if inside.any():
                    positions = np.flatnonzero(inside)
                    out[positions] = values[rows[positions] - chunk.first_row]

    def pieces(self, tensor: str, rows: Array) -> Iterator[tuple[slice | Array, Array]]:
        """Yield stored values of one tensor with their positions among the given rows.

        Values of consecutive rows are views of the mapped file, so a caller that converts
        or scatters them copies once.
        """
        param = self.layout[tensor]
        if not len(rows) or not param.size:
            return
        self._check_rows(int(rows.min()), int(rows.max()))
        if not self.trusted:
            yield slice(None), self._rewritten(param)[rows]
            return
        self._check_size()
        first, last = int(rows[0]), int(rows[0]) + len(rows)
        consecutive = bool((np.diff(rows) == 1).all())
        for chunk, values in zip(self._chunks[tensor], self._views[tensor], strict=True):
            start = max(first, chunk.first_row)
            stop = min(last, chunk.first_row + chunk.rows)
            inside = (rows >= chunk.first_row) & (rows < chunk.first_row + chunk.rows)
            if consecutive and start < stop:
                skipped, count = start - chunk.first_row, stop - start
                if tensor not in self._announced:
                    offset = chunk.offset + skipped * chunk.row_bytes
                    self._announce(offset, count * chunk.row_bytes)
                yield slice(start - first, stop - first), values[skipped : skipped + count]
            elif not consecutive and inside.any():
                positions = np.flatnonzero(inside)
                yield positions, values[rows[positions] - chunk.first_row]
        if consecutive:
            self._announced.add(tensor)

    def read_row(self, row: int) -> dict[str, Array]:
        """Return copies of all tensors of one row, in their storage dtypes."""
        self._check_rows(row, row)
        if not self.trusted:
            rows = np.array([row])
            return {p.name: self._tensor_of_row(p, rows) for p in self.layout}
        self._check_size()
        group, within = divmod(row, self._group)
        return {
            name: views[group][within, ...].copy() if views else empty.copy()
            for name, (views, empty) in self._rows.items()
        }

    def forget(self, tensor: str, rows: Array) -> bool:
        """Give up a copy of some rows that proved wrong; False if this is the original.

        What is given up is copied again when it is read the next time.
        """
        return False

    def _tensor_of_row(self, param: Param, rows: Array) -> Array:
        out = np.empty((1, *param.shape), dtype(param.dtype).storage)
        self.read(param.name, rows, out)
        return out[0, ...]

    @cached_property
    def _group(self) -> int:
        """Number of rows per row group."""
        return next(iter(self._chunks.values()))[0].rows if self._chunks else 1

    @cached_property
    def _bytes(self) -> Array:
        """Memory map of the file, which copies pages read before without system calls."""
        mapped = mmap.mmap(self._descriptor, self._size, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, np.uint8)

    @cached_property
    def _views(self) -> dict[str, list[Array]]:
        """Views of the mapped file by tensor, one per row group."""
        views: dict[str, list[Array]] = {}
        for name, chunks in self._chunks.items():
            param = self.layout[name]
            storage = dtype(param.dtype).storage
            views[name] = [
                np.ndarray((c.rows, *param.shape), storage, self._bytes.data, c.offset)
                for c in chunks
            ]
        return views

    @cached_property
    def _rows(self) -> dict[str, tuple[list[Array], Array]]:
        """Views of every tensor, and an empty array for tensors of size 0."""
        return {
            p.name: (
                self._views.get(p.name, []),
                np.empty(p.shape, dtype(p.dtype).storage),
            )
            for p in self.layout
        }

    def _contiguous(self, param: Param, first: int, out: Array) -> None:
        """Copy consecutive rows in large pieces, after announcing them to the kernel."""
        last = first + len(out)
        jobs = []
        target = out.reshape(-1).view(np.uint8)
        for chunk in self._chunks[param.name]:
            start = max(first, chunk.first_row)
            stop = min(last, chunk.first_row + chunk.rows)
            if start >= stop:
                continue
            offset = chunk.offset + (start - chunk.first_row) * chunk.row_bytes
            destination = target[
                (start - first) * chunk.row_bytes : (stop - first) * chunk.row_bytes
            ]
            if param.name not in self._announced:
                self._announce(offset, len(destination))
            values = self._bytes[offset : offset + len(destination)]
            for start_byte in range(0, len(destination), _PIECE):
                part = slice(start_byte, start_byte + _PIECE)
                jobs.append((destination[part], values[part]))
        self._announced.add(param.name)
        if len(jobs) == 1:
            np.copyto(*jobs[0])
        else:
            run_parallel([partial(np.copyto, *job) for job in jobs])

    def _announce(self, offset: int, length: int) -> None:
        """Let the kernel read a cold file ahead in large pieces rather than page by page.

        Callers do this once per tensor, because the kernel looks at every page, which
        costs a tenth of a copy.
        """
        if hasattr(os, "posix_fadvise"):
            willneed = os.POSIX_FADV_WILLNEED
            os.posix_fadvise(self._descriptor, offset, length, willneed)

    def _check_size(self) -> None:
        """Check that the file was not truncated, before its pages are touched."""
        if os.fstat(self._descriptor).st_size != self._size:
            raise ShardCorrupt(f"{self.path} was truncated or altered while it was read.")

    def check_keys(self, checkpoints: Sequence[tuple[int, str, int]]) -> None:
        """Check that rows of the file hold the expected checkpoints.

        Parameters
        ----------
        checkpoints : sequence of (row, run_id, step)
            Expected checkpoints.

        Raises
        ------
        ShardCorrupt
            If a row holds another checkpoint.
        """
        table = read_columns(self.path, [RUN_ID, STEP])
        run_ids, steps = table[RUN_ID].to_pylist(), table[STEP].to_pylist()
        if len(table) != self._manifest.files["weights"].rows:
            raise ShardCorrupt(
                f"{self.path} has {len(table)} rows, but its manifest says "
                f"{self._manifest.files['weights'].rows}. Fetch or train the shard again."
            )
        for row, run_id, step in checkpoints:
            self._check_rows(row, row)
            if (run_ids[row], steps[row]) != (run_id, step):
                raise ShardCorrupt(
                    f"{self.path}: row {row} is run {run_ids[row]} at step {steps[row]}; "
                    f"expected run {run_id} at step {step}. The file or its table in "
                    "checkpoints/ was rewritten with rows in another order. Fetch or "
                    "train the shard again."
                )

    def _rewritten(self, param: Param) -> Array:
        return read_tensor(self.path, param, self._manifest.files["weights"].rows)

    def _check_rows(self, first: int, last: int) -> None:
        """Check row numbers, which come from a file that may be damaged."""
        count = self._manifest.files["weights"].rows
        if not 0 <= first <= last < count:
            raise ShardCorrupt(
                f"{self.path} has rows 0 to {count - 1}, but checkpoints/ names row "
                f"{first if first < 0 else last}. Run 'phasezoo verify', then fetch or "
                "train the shard again."
            )

    def _check_chunks(self, size: int) -> None:
        """Check that offsets, which come from a file, reach every row and stay inside."""
        for param in stored_params(self.layout):
            rows, chunks = 0, self._chunks.get(param.name, [])
            for chunk in chunks:
                full = chunk.rows == self._group or chunk is chunks[-1]
                end = chunk.offset + chunk.rows * chunk.row_bytes
                in_order = (chunk.first_row, chunk.row_bytes) == (rows, param.nbytes)
                if (
                    not in_order
                    or not full
                    or chunk.rows < 1
                    or not 0 < chunk.offset <= end <= size
                ):
                    break
                rows += chunk.rows
            if rows != self._manifest.files["weights"].rows:
                raise ShardCorrupt(
                    f"{self.path}: the offsets of tensor {param.name!r} do not lead to "
                    f"its {self._manifest.files['weights'].rows} rows. Delete cache/: its "
                    "index holds a copy of the offsets and will be rebuilt. If the error "
                    "stays, run 'phasezoo verify', then fetch or train the shard again."
                )
