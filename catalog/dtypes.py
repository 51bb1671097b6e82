"""Tensor dtypes: their names and their representation in numpy and Parquet.

Parquet widens 8- and 16-bit integers, and neither numpy nor Arrow has bfloat16.
Tensors of these dtypes are stored as raw bytes (one fixed-size binary per tensor), so
that the payload of every dtype is exactly the tensor's bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.errors import LayoutMismatch, closest

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class DType:
    """Dtype of a tensor, with its storage in numpy and Parquet.

    Attributes
    ----------
    name : str
        Name used in layouts, equal to torch's name without the prefix ``torch.``.
    storage : numpy.dtype
        Little-endian dtype of the stored bytes; ``uint16`` for bfloat16.
    floating : bool
        True if ``Population.weights`` can hold the values.
    typed : bool
        True if Parquet holds the values as numbers, False if as raw bytes.
    """

    name: str
    storage: np.dtype[Any]
    floating: bool
    typed: bool

    def arrow_type(self, size: int) -> pa.DataType:
        """Return the Arrow type of a column that holds ``size`` values in every row."""
        if not self.typed:
            return pa.binary(size * self.storage.itemsize)
        value = pa.from_numpy_dtype(self.storage)
        return pa.list_(pa.field("element", value, nullable=False), size)


def _dtypes() -> dict[str, DType]:
    typed_floats = ["float16", "float32", "float64"]
    typed_integers = ["int32", "int64", "uint32", "uint64"]
    raw = ["int8", "int16", "uint8", "uint16", "bool", "complex64", "complex128"]
    table = [DType(n, np.dtype(n), True, True) for n in typed_floats]
    table += [DType(n, np.dtype(n), False, True) for n in typed_integers]
    table += [DType(n, np.dtype(n), False, False) for n in raw]
    table.append(DType("bfloat16", np.dtype("uint16"), True, False))
    return {dtype.name: dtype for dtype in table}


DTYPES = _dtypes()


def dtype(name: str) -> DType:
    """Look a dtype up by name.

    Raises
    ------
    LayoutMismatch
        If no dtype has this name.
    """
    if name not in DTYPES:
        raise LayoutMismatch(f"Unknown dtype {name!r}. {closest(name, DTYPES)}")
    return DTYPES[name]


def widen(values: Array, name: str) -> Array:
    """Convert stored values to float32 without loss.

    Parameters
    ----------
    values : ndarray
        Values in the storage dtype of ``name``.
    name : str
        Name of a floating dtype.

    Raises
    ------
    LayoutMismatch
        If a float64 value is not exact in float32; use `round_to_float32` to accept the
        loss.
    """
    if name == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    if name != "float64":
        return values.astype(np.float32, copy=False)
    rounded = round_to_float32(values)
    exact = (rounded == values) | (np.isnan(rounded) & np.isnan(values))
    if not exact.all():
        worst = float(np.abs(rounded[~exact] - values[~exact]).max())
        raise LayoutMismatch(
            f"{int((~exact).sum())} float64 values are not exact in float32 (largest "
            f"difference {worst:.3g}). Pass lossy=True to round them, or read the "
            "tensor as float64 with catalog.read_tensor(name, where)."
        )
    return rounded


def round_to_float32(values: Array) -> Array:
    """Round float64 values to the nearest float32; values out of range become infinite."""
    with np.errstate(over="ignore", invalid="ignore"):  # invalid: a signalling NaN
        return values.astype(np.float32)


def narrow(values: Array, name: str) -> Array:
    """Convert float32 values to the storage dtype of ``name`` without loss.

    Raises
    ------
    LayoutMismatch
        If a value is not exact in that dtype: storing must not change weights.
    """
    if name == "float32":
        return values
    if name == "float64":
        return values.astype(np.float64)
    if name == "float16":
        with np.errstate(over="ignore"):
            stored = values.astype(np.float16)
        back = stored.astype(np.float32)
    else:
        stored = (np.ascontiguousarray(values).view(np.uint32) >> 16).astype(np.uint16)
        back = (stored.astype(np.uint32) << 16).view(np.float32)
    if not ((back == values) | (np.isnan(back) & np.isnan(values))).all():
        raise LayoutMismatch(
            f"Some weights are not exact in {name}. Give the tensor the dtype 'float32' "
            "in its Param, or round the weights first."
        )
    return stored
