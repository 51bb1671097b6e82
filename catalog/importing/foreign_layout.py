"""Layout, hashes and non-finite values of a foreign network's tensors."""

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
    """Return the layout of a foreign network: names, shapes, dtypes, roles and symbols.

    Parameters
    ----------
    where : str
        Name of the network, for errors.
    tensors : mapping of str to Tensor
        Tensors of the network.
    axes : {"certain", "chain", "none"}, default="certain"
        Rule by which symbols are inferred if no tensor has axes, see `infer_axes`.

    Raises
    ------
    LayoutMismatch
        If the dtype of a tensor's values differs from the dtype that the tensor names.
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
        tensor_axes = tensor.axes or ()
        params.append(Param(name, tensor.values.shape, tensor_axes, tensor.dtype, role))
    if all(tensor.axes is None for tensor in tensors.values()):
        inferred = zip(params, infer_axes(params, axes), strict=True)
        params = [
            Param(p.name, p.shape, param_axes, p.dtype, p.role)
            for p, param_axes in inferred
        ]
    return Layout(tuple(params))


def _role(name: str, dtype: str) -> str:
    if name.endswith(("running_mean", "running_var")) and DTYPES[dtype].floating:
        return "buffer"
    if DTYPES[dtype].floating:
        return "parameter"
    return "constant" if DTYPES[dtype].storage.kind == "c" else "counter"


def digest(tensor: Tensor) -> bytes:
    """Return the hash of a tensor's dtype, shape and bytes."""
    values = np.ascontiguousarray(tensor.values)
    hashed = blake3(f"{tensor.dtype} {values.shape}".encode())
    hashed.update(values.reshape(-1).view(np.uint8).data)
    return hashed.digest()


def nonfinite(tensor: Tensor) -> int:
    """Count the values that are NaN or infinite."""
    values: Array = tensor.values
    if tensor.dtype == "bfloat16":
        return int(((values & 0x7F80) == 0x7F80).sum())
    return int((~np.isfinite(values)).sum())


def layout_difference(first: Layout | None, second: Layout | None) -> str:
    """Describe how two layouts differ: in the first differing tensor, or otherwise."""
    if first is None or second is None:
        return "one has weights, the other has only metrics"
    for expected, actual in zip(
        map(_description, first), map(_description, second), strict=False
    ):
        if expected != actual:
            return f"{actual}, expected {expected}"
    if len(first) != len(second):
        return f"{len(second)} tensors, expected {len(first)}"
    return "another architecture or other axis symbols"


def _description(param: Param) -> str:
    return f"{param.name!r} {param.shape} {param.dtype} {param.role}"
