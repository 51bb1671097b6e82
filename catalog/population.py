"""Population: networks of one layout in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array, dtype, narrow, round_to_float32, widen
from catalog.errors import LayoutMismatch, NotFound, closest
from catalog.layout import Layout, Param


@dataclass(frozen=True)
class Population:
    """Networks as rows of a matrix, with a table of metadata.

    Attributes
    ----------
    weights : ndarray of shape (n, d), float32
        Parameters and floating buffers, in the order of ``layout.slices``.
    layout : Layout
        Tensors that the columns of ``weights`` belong to.
    table : pyarrow.Table
        Metadata, one row per network, with at least the columns ``run_id`` (string) and
        ``step`` (int64).
    extra : dict of str to ndarray of shape (n, *shape)
        Counters and constants, in their storage dtype.

    Raises
    ------
    LayoutMismatch
        If the attributes disagree about n, d, shapes or dtypes.

    Examples
    --------
    >>> layout = Layout((Param("w", (2,)),))
    >>> table = pa.table({"run_id": ["a", "b"], "step": [0, 0], "lr": [0.1, 0.2]})
    >>> p = Population(np.eye(2, dtype=np.float32), layout, table)
    >>> len(p), p["lr"], p.state_dict(1)["w"]
    (2, array([0.1, 0.2]), array([0., 1.], dtype=float32))
    """

    weights: Array
    layout: Layout
    table: pa.Table
    extra: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, d = len(self.table), self.layout.d
        if self.weights.shape != (n, d) or self.weights.dtype != np.float32:
            raise LayoutMismatch(
                f"weights must be float32 of shape ({n}, {d}): one row per row of the "
                f"table, and d columns. Got {self.weights.dtype} {self.weights.shape}."
            )
        for name in ("run_id", "step"):
            if name not in self.table.column_names:
                raise LayoutMismatch(
                    f"The table has no column {name!r}; every row needs a run_id and a "
                    f"step. Its columns: {', '.join(self.table.column_names)}."
                )
        for param in self.layout.extra:
            values = self.extra.get(param.name)
            shape = (n, *param.shape)
            storage = dtype(param.dtype).storage
            if values is None or values.shape != shape or values.dtype != storage:
                actual = "nothing" if values is None else f"{values.dtype} {values.shape}"
                raise LayoutMismatch(
                    f"extra[{param.name!r}] must be {storage} {shape}. Got {actual}."
                )

    def __repr__(self) -> str:
        # Arrow prints text unescaped; Python's repr of a list escapes control characters.
        return (
            f"Population({len(self)} networks of {self.layout.d:,} weights, layout "
            f"{self.layout.id}, columns {self.table.column_names})"
        )

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, column: str) -> Array:
        """Return one column of the table as a numpy array."""
        if column not in self.table.column_names:
            raise NotFound(
                f"No column {column!r}. {closest(column, self.table.column_names)}"
            )
        values: Array = self.table[column].to_numpy(zero_copy_only=False)
        return values

    def tensor(self, name: str) -> Array:
        """Return one tensor of every network, shape ``(n, *shape)``.

        Parameters and buffers are float32 views of ``weights``; counters and constants
        have their storage dtype.
        """
        param = self.layout[name]
        if not param.in_vector:
            return self.extra[name]
        columns = self.weights[:, self.layout.slices[name]]
        return columns.reshape(len(self), *param.shape)

    def stored(self, name: str, rows: slice = slice(None)) -> Array:
        """Return one tensor of some networks in its storage dtype (bfloat16: uint16)."""
        param = self.layout[name]
        if not param.in_vector:
            return self.extra[name][rows]
        return narrow(self.tensor(name)[rows], param.dtype)

    def state_dict(self, i: int) -> dict[str, Array]:
        """Return all tensors of network i by name, each in its storage dtype."""
        index = range(len(self))[i]
        row = slice(index, index + 1)
        return {param.name: self.stored(param.name, row)[0, ...] for param in self.layout}

    def to_arrow(self) -> pa.Table:
        """Return the table with an added column ``weights``, d float32 values per row.

        Counters and constants stay in ``extra``. Contiguous weights are not copied: the
        column shares their memory.

        Raises
        ------
        LayoutMismatch
            If the table already has a column ``weights``.
        """
        if "weights" in self.table.column_names:
            raise LayoutMismatch("The table already has a column 'weights'; rename it.")
        flat = pa.array(np.ascontiguousarray(self.weights).reshape(-1))
        kind = pa.list_(pa.field("element", pa.float32(), nullable=False), self.layout.d)
        column = pa.FixedSizeListArray.from_arrays(flat, type=kind)
        return self.table.append_column(pa.field("weights", kind, nullable=False), column)

    def select(self, rows: Any) -> Population:
        """Return the networks that an index array or a mask of n booleans selects."""
        index = np.asarray(rows)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        index = index.astype(np.int64)
        return Population(
            self.weights[index],
            self.layout,
            self.table.take(pa.array(index)),
            {name: values[index] for name, values in self.extra.items()},
        )

    @staticmethod
    def concat(populations: Sequence[Population]) -> Population:
        """Concatenate several populations of the same layout.

        Raises
        ------
        LayoutMismatch
            If there is no population, or if the layouts differ.
        """
        if not populations:
            raise LayoutMismatch("Nothing to concatenate; pass at least one population.")
        layout = populations[0].layout
        for other in populations[1:]:
            if other.layout != layout:
                raise LayoutMismatch(
                    f"Cannot concatenate populations of layout {layout.id} (d = "
                    f"{layout.d}) and layout {other.layout.id} (d = {other.layout.d}). "
                    "Load one layout at a time, e.g. .load(\"arch_id = '...'\")."
                )
        return Population(
            np.concatenate([p.weights for p in populations]),
            layout,
            pa.concat_tables([p.table for p in populations], promote_options="default"),
            {
                param.name: np.concatenate([p.extra[param.name] for p in populations])
                for param in layout.extra
            },
        )

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Array],
        layout: Layout,
        table: pa.Table,
        *,
        lossy: bool = False,
    ) -> Population:
        """Build a population from stacked tensors.

        Parameters
        ----------
        tensors : mapping of str to ndarray of shape (n, *shape)
            Tensors of all networks by name, in their storage dtypes.
        layout : Layout
            Layout of every network.
        table : pyarrow.Table
            Metadata, one row per network.
        lossy : bool, default=False
            Round float64 values that are not exact in float32, instead of raising.

        Raises
        ------
        LayoutMismatch
            If a tensor is missing or has another shape or dtype.
        """
        n = len(table)
        weights = np.empty((n, layout.d), np.float32)
        for name, columns in layout.slices.items():
            param = layout[name]
            stacked = _stacked(tensors, param, n).reshape(n, param.size)
            rounded = lossy and param.dtype == "float64"
            weights[:, columns] = (
                round_to_float32(stacked) if rounded else widen(stacked, param.dtype)
            )
        extra = {p.name: _stacked(tensors, p, n) for p in layout.extra}
        return cls(weights, layout, table, extra)


def _stacked(tensors: Mapping[str, Array], param: Param, n: int) -> Array:
    if param.name not in tensors:
        raise LayoutMismatch(
            f"Tensor {param.name!r} {param.shape} is missing. "
            f"{closest(param.name, tensors)}"
        )
    values = np.asarray(tensors[param.name])
    shape, storage = (n, *param.shape), dtype(param.dtype).storage
    if values.shape != shape or values.dtype != storage:
        raise LayoutMismatch(
            f"Tensor {param.name!r} must be {storage} {shape}. "
            f"Got {values.dtype} {values.shape}."
        )
    return values
