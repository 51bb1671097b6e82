"""Layout, hash and health of a foreign network's tensors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from blake3 import blake3

from catalog.dtypes import DTYPES, Array
from catalog.errors import LayoutMismatch
from catalog.formats.format import Tensor
from catalog.importing.axes import AxesRule, infer_axes
from catalog.layout import Layout, Param


def layout_of(
    where: str, tensors: Mapping[str, Tensor], axes: AxesRule = "certain"
) -> Layout:
    """Names, shapes, dtypes, roles and axis symbols of a foreign network.

    Parameters
    ----------
    axes : {"certain", "chain", "none"}, default="certain"
        How symbols are inferred if no tensor has any, see `infer_axes`.

    Raises
    ------
    LayoutMismatch
        If a tensor's values are not of the dtype it names.
    """
    params = []
    for name, tensor in tensors.items():
        kind = DTYPES.get(tensor.dtype)
        if kind is None or tensor.values.dtype != kind.storage:
            raise LayoutMismatch(
                f"{where}: tensor {name!r} is called {tensor.dtype}, but its values are "
                f"{tensor.values.dtype}."
            )
        role = tensor.role or _role(name, tensor.dtype)
        given = tensor.axes or ()
        params.append(Param(name, tensor.values.shape, given, tensor.dtype, role))
    if all(tensor.axes is None for tensor in tensors.values()):
        inferred = zip(params, infer_axes(params, axes), strict=True)
        params = [Param(p.name, p.shape, found, p.dtype, p.role) for p, found in inferred]
    return Layout(tuple(params))


def _role(name: str, dtype: str) -> str:
    if name.endswith(("running_mean", "running_var")) and DTYPES[dtype].floating:
        return "buffer"
    if DTYPES[dtype].floating:
        return "parameter"
    return "constant" if DTYPES[dtype].storage.kind == "c" else "counter"


def digest(tensor: Tensor) -> bytes:
    """Hash of dtype, shape and bytes."""
    values = np.ascontiguousarray(tensor.values)
    hashed = blake3(f"{tensor.dtype} {values.shape}".encode())
    hashed.update(values.reshape(-1).view(np.uint8).data)
    return hashed.digest()


def nonfinite(tensor: Tensor) -> int:
    """How many values are NaN or infinite."""
    values: Array = tensor.values
    if tensor.dtype == "bfloat16":
        return int(((values & 0x7F80) == 0x7F80).sum())
    return int((~np.isfinite(values)).sum())


def layout_difference(first: Layout | None, second: Layout | None) -> str:
    """What tells two batches apart: the first tensor, or their architecture."""
    if first is None or second is None:
        return "one has weights, the other only metrics"
    for one, other in zip(map(_told, first), map(_told, second), strict=False):
        if one != other:
            return f"{other}, expected {one}"
    if len(first) != len(second):
        return f"{len(second)} tensors, expected {len(first)}"
    return "another architecture or other axis symbols"


def _told(param: Param) -> str:
    return f"{param.name!r} {param.shape} {param.dtype} {param.role}"
