"""Selection of checkpoints by SQL, with lazy reading of their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
from blake3 import blake3

from catalog.dtypes import Array, dtype, round_to_float32, widen
from catalog.errors import CatalogError, LayoutMismatch, NotFound, ShardCorrupt, closest
from catalog.layout import Layout, Param
from catalog.population import Population
from catalog.quoting import literal
from catalog.storage.copying import empty_aligned, run_parallel
from catalog.storage.reader import ShardReader

_ALONE = 8 << 20
"""Maximum size in bytes of weights that one thread reads; above, threads share the work."""


class Selection:
    """Ordered rows of `models`, whose weights are read on request.

    Attributes
    ----------
    table : pyarrow.Table
        Selected rows of ``models``.

    Notes
    -----
    ``len(selection)`` is the number of checkpoints; ``selection[i]`` reads the tensors of
    checkpoint i.
    """

    def __init__(
        self,
        table: pa.Table,
        reader: Callable[[str], ShardReader],
        fingerprints: Callable[[list[str]], pa.Table],
    ) -> None:
        self.table = table
        self._reader = reader
        self._fingerprints = fingerprints

    def __repr__(self) -> str:
        return f"Selection({len(self)} checkpoints, columns {self.table.column_names})"

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, i: int) -> dict[str, Array]:
        """Read all tensors of checkpoint i by name, each in its storage dtype."""
        code, row = int(self._codes[i]), int(self._rows[i])
        return self._readers[code].read_row(row)

    def __getstate__(self) -> dict[str, Any]:
        # Another process opens the files again; it needs neither catalogue nor DuckDB.
        return {"table": self.table, "readers": self._opened}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.table = state["table"]
        self._reader = state["readers"].__getitem__
        self._fingerprints = _no_fingerprints

    def reopened(self) -> Selection:
        """Return the same checkpoints with newly opened files, e.g. after a fork."""
        readers = {name: reader.reopened() for name, reader in self._opened.items()}
        return Selection(self.table, readers.__getitem__, _no_fingerprints)

    def slice(self, first: int, n: int) -> Selection:
        """Return the n checkpoints from number ``first`` on."""
        return Selection(self.table.slice(first, n), self._reader, self._fingerprints)

    def layout_of(self, i: int) -> Layout:
        """Return the layout of checkpoint i; a selection may have several layouts."""
        return self._readers[int(self._codes[i])].layout

    @property
    def layout(self) -> Layout:
        """Common layout of the selected networks.

        Raises
        ------
        LayoutMismatch
            If there are several layouts; the message suggests a condition for the query.
        NotFound
            If nothing was selected.
        """
        layouts = {reader.layout.id: reader.layout for reader in self._readers}
        if not layouts:
            raise NotFound("No checkpoint is selected; there is nothing to load.")
        if len(layouts) > 1:
            counts = self.table["arch_id"].value_counts().to_pylist()
            groups = "; ".join(f"{c['counts']} x {c['values']}" for c in counts[:5])
            raise LayoutMismatch(
                f"The selection has {len(layouts)} layouts ({groups}), but a Population "
                "has one. Add a condition, for example: arch_id = "
                f"{literal(counts[0]['values'])}"
            )
        return next(iter(layouts.values()))

    def tensor(self, name: str, out: Array | None = None) -> Array:
        """Read one tensor of every selected checkpoint.

        Parameters
        ----------
        name : str
            Name of the tensor.
        out : ndarray, optional
            C-contiguous destination of shape ``(n, *shape)`` in the storage dtype.

        Returns
        -------
        ndarray of shape (n, *shape)
            Values in the storage dtype of the tensor (bfloat16: uint16).

        Raises
        ------
        NotFound
            If a selected network does not have the tensor, or nothing was selected.
        LayoutMismatch
            If the shape or dtype of the tensor differs between networks, or if ``out`` has
            the wrong shape or dtype.
        """
        param = self._common(name)
        shape, storage = (len(self), *param.shape), dtype(param.dtype).storage
        if out is None:
            out = empty_aligned(shape, storage)
        elif out.shape != shape or out.dtype != storage or not out.flags.c_contiguous:
            raise LayoutMismatch(
                f"out must be C-contiguous {storage} {shape}. Got {out.dtype} {out.shape}."
            )
        if len(self._readers) == 1:
            self._readers[0].read(name, self._rows, out)
            return out
        for code, reader in enumerate(self._readers):
            positions = np.flatnonzero(self._codes == code)
            if positions[-1] - positions[0] + 1 == len(positions):
                reader.read(
                    name, self._rows[positions], out[positions[0] : positions[-1] + 1]
                )
            else:
                part = np.empty((len(positions), *param.shape), storage)
                reader.read(name, self._rows[positions], part)
                out[positions] = part
        return out

    def verified(self) -> dict[str, Array]:
        """Read and verify every tensor of every selected checkpoint.

        Of a remote catalogue, what is damaged in the cache is downloaded again, once.

        Returns
        -------
        dict of str to ndarray of shape (n, *shape)
            Tensors by name, each in its storage dtype.

        Raises
        ------
        LayoutMismatch
            If the networks have several layouts.
        ShardCorrupt
            If a tensor differs from the committed one, or a row holds another checkpoint.
        """
        tensors = {param.name: self.tensor(param.name) for param in self.layout}
        self._verify(tensors)
        return tensors

    def population(self, *, lossy: bool = False, verify: bool = False) -> Population:
        """Read all weights into a population.

        Parameters
        ----------
        lossy : bool, default=False
            Round float64 values that are not exact in float32, instead of raising.
        verify : bool, default=False
            Compare every tensor with its recorded hash, and the key of every row with
            the checkpoint that the row should hold.

        Raises
        ------
        LayoutMismatch
            If the networks have several layouts, or if ``lossy`` is false and a float64
            value is not exact in float32.
        ShardCorrupt
            If ``verify`` finds a tensor that differs from the committed one, or a row
            that holds another checkpoint.
        """
        layout = self.layout
        if verify:
            tensors = self.verified()
            return Population.from_tensors(tensors, layout, self.table, lossy=lossy)
        extra = {param.name: self.tensor(param.name) for param in layout.extra}
        return Population(self._weights(layout, lossy), layout, self.table, extra)

    def _weights(self, layout: Layout, lossy: bool) -> Array:
        """Matrix with a row per network, each value copied once from its mapped file."""
        weights = empty_aligned((len(self), layout.d), np.dtype(np.float32))
        jobs = []
        for code, reader in enumerate(self._readers):
            positions = np.flatnonzero(self._codes == code)
            contiguous = positions[-1] - positions[0] + 1 == len(positions)
            for name, columns in layout.slices.items():
                for piece, values in reader.pieces(name, self._rows[positions]):
                    rows: Array | slice = positions[piece]
                    if contiguous and isinstance(piece, slice):
                        rows = slice(positions[piece][0], positions[piece][-1] + 1)
                    kind = layout[name].dtype
                    jobs.append(partial(_fill, weights, rows, columns, values, kind, lossy))
        if weights.nbytes < _ALONE:
            for job in jobs:
                job()
        else:
            run_parallel(jobs)
        return weights

    def _common(self, name: str) -> Param:
        params = {}
        for reader in self._readers:
            if name not in reader.layout:
                names = {p.name for r in self._readers for p in r.layout}
                raise NotFound(
                    f"No tensor {name!r} in {reader.path.parent.name}. "
                    f"{closest(name, names)}"
                )
            param = reader.layout[name]
            params[(param.shape, param.dtype)] = param
        if not params:
            raise NotFound("No checkpoint matches; there is nothing to read.")
        if len(params) > 1:
            shapes = "; ".join(f"{kind} {shape}" for shape, kind in params)
            raise LayoutMismatch(
                f"Tensor {name!r} has {len(params)} shapes in the selection ({shapes}). "
                "Select networks of one shape with a condition on width or arch_id."
            )
        return next(iter(params.values()))

    def _verify(self, tensors: dict[str, Array]) -> None:
        ids, steps = (self.table[name].to_pylist() for name in ("run_id", "step"))
        for code, reader in enumerate(self._readers):
            positions = np.flatnonzero(self._codes == code).tolist()
            reader.check_keys([(int(self._rows[i]), ids[i], steps[i]) for i in positions])
        recorded: dict[tuple[str, int, str], bytes] = {}
        for stats in self._fingerprints(self._names).to_pylist():
            recorded[stats["shard"], stats["row"], stats["tensor"]] = stats["blake3"]
        for name, values in tensors.items():
            if values[0].size:
                self._verify_tensor(name, values, recorded)

    def _verify_tensor(
        self, name: str, values: Array, recorded: Mapping[tuple[str, int, str], bytes]
    ) -> None:
        """Compare one tensor of all checkpoints; copies that differ are made again once."""
        differing = self._differing(name, values, recorded, range(len(self)))
        again = [i for i in differing if self._forget(name, i)]
        for i in again:
            self._readers[self._codes[i]].read(
                name, self._rows[i : i + 1], values[i : i + 1]
            )
        if again:
            differing = self._differing(name, values, recorded, differing)
            for i in differing:
                self._forget(name, i)
        if differing:
            i = differing[0]
            advice = (
                "It was downloaded twice: ask whoever published it to publish it again."
                if again
                else "Run 'phasezoo verify'."
            )
            raise ShardCorrupt(
                f"{self._readers[self._codes[i]].path}: row {self._rows[i]}, tensor "
                f"{name!r} differs from the committed tensor (its blake3 hash differs). "
                f"{advice}"
            )

    def _differing(
        self,
        name: str,
        values: Array,
        recorded: Mapping[tuple[str, int, str], bytes],
        positions: Iterable[int],
    ) -> list[int]:
        """Return the positions of checkpoints whose tensor is not the committed one."""
        return [
            i
            for i in positions
            if recorded.get((self._names[self._codes[i]], int(self._rows[i]), name))
            != blake3(values[i].tobytes()).digest()
        ]

    def _forget(self, name: str, i: int) -> bool:
        reader: ShardReader = self._readers[self._codes[i]]
        return reader.forget(name, self._rows[i : i + 1])

    @cached_property
    def _shards(self) -> pa.DictionaryArray:
        return self.table["shard"].combine_chunks().dictionary_encode()

    @cached_property
    def _names(self) -> list[str]:
        return [str(name) for name in self._shards.dictionary.to_pylist()]

    @cached_property
    def _codes(self) -> Array:
        codes: Array = self._shards.indices.to_numpy(zero_copy_only=False)
        return codes

    @cached_property
    def _rows(self) -> Array:
        column = self.table["row"]
        if column.null_count:
            shards = self.table["shard"].filter(column.is_null()).to_pylist()
            raise CatalogError(
                f"{len(shards)} of {len(self)} selected checkpoints have metrics but no "
                f"weights, e.g. in shard {shards[0]}. Add the condition: row IS NOT NULL"
            )
        rows: Array = column.combine_chunks().to_numpy()
        return rows

    @property
    def _opened(self) -> dict[str, ShardReader]:
        return dict(zip(self._names, self._readers, strict=True))

    @cached_property
    def _readers(self) -> list[ShardReader]:
        if len(self._rows) != len(self):
            raise AssertionError("one row number per checkpoint")
        return [self._reader(name) for name in self._names]


def _fill(
    weights: Array,
    rows: Array | slice,
    columns: slice,
    values: Array,
    kind: str,
    lossy: bool,
) -> None:
    flat = values.reshape(len(values), -1)
    rounded = lossy and kind == "float64"
    weights[rows, columns] = round_to_float32(flat) if rounded else widen(flat, kind)


def _no_fingerprints(shards: list[str]) -> pa.Table:
    raise CatalogError(
        "A selection from another process cannot be verified. Load the checkpoints from "
        "the catalogue instead: catalog.load(where, verify=True)."
    )
