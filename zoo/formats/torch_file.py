"""One file of `torch.save`, read without running anything that it contains."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from catalog import CatalogError
from catalog.dtypes import DTYPES, Array
from catalog.formats.expansion import check_archive
from catalog.formats.format import Scalar, Tensor

_SURE = ("state_dict", "model_state_dict", "model")
CONTAINERS = (*_SURE, "net", "params", "model_state", "weights")
"""Keys under which training scripts put the state dict."""

_PARALLEL = "module."
_NAMES = {getattr(torch, name): name for name in DTYPES}


@dataclass(frozen=True)
class TorchFile:
    """What a file holds.

    Attributes
    ----------
    tensors : dict of str to Tensor
        The state dict, in its order.
    scalars : dict of str to scalar
        What stood beside it.
    notes : dict of str to str
        What was done: ``stripped_prefix``, ``not_imported``.
    """

    tensors: dict[str, Tensor]
    scalars: dict[str, Scalar]
    notes: dict[str, str]


def read_torch_file(path: Path) -> TorchFile:
    """Read a state dict, or a dict that holds one under a usual key.

    Raises
    ------
    CatalogError
        If the file holds anything else or would run code; the error names it.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                check_archive(path, archive.infolist())
        value = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        AssertionError,
        ArithmeticError,
        MemoryError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:
        if isinstance(error, CatalogError):
            raise
        # What torch refuses to unpickle it explains with advice to run it all the same.
        found = re.search(r"Unsupported (?:global|class|operand)[^.\n]*", str(error))
        reason = found[0] if found else str(error).strip().split("\n")[0]
        if "weights_only" in reason:
            reason = "It holds objects that are no tensors"
        raise CatalogError(
            f"{path} is not a file of tensors: {reason.rstrip('.')}. Expected a state "
            "dict written by torch.save; nothing in the file was run. Who trusts it can "
            "convert it: torch.save(module.state_dict(), FILE)."
        ) from error
    return state_of(value, str(path))


def state_of(value: Any, where: str) -> TorchFile:
    """Sort what was loaded into tensors, scalars and the rest."""
    if not isinstance(value, Mapping):
        raise CatalogError(
            f"{where} holds a {type(value).__name__}; expected a state dict, or a dict "
            f"with one under {', '.join(CONTAINERS)}."
        )
    nested = [name for name in CONTAINERS if _nested(name, value.get(name))]
    if len(nested) > 1:
        raise CatalogError(
            f"{where} has several state dicts: {', '.join(nested)}. Save the one that is "
            "meant in a file of its own."
        )
    scalars: dict[str, Scalar] = {}
    notes: dict[str, str] = {}
    state = value
    if nested:
        state, left = value[nested[0]], []
        for name, item in value.items():
            if isinstance(item, torch.Tensor) and item.dim() == 0 and not item.is_complex():
                item = item.item()
            if item is None or isinstance(item, str | int | float | bool):
                scalars[str(name)] = item
            elif name != nested[0]:
                left.append(str(name))
        if left:
            notes["not_imported"] = ", ".join(left)
    wrong = [name for name in state if not isinstance(name, str)]
    if wrong or not state:
        raise CatalogError(
            f"{where}: a state dict must map names to tensors. Got "
            + (f"the key {wrong[0]!r}." if wrong else "an empty one.")
        )
    prefix = ""
    if all(name.startswith(_PARALLEL) for name in state):
        prefix = _PARALLEL
        notes["stripped_prefix"] = prefix
    tensors = {
        name[len(prefix) :]: as_tensor(item, name, where) for name, item in state.items()
    }
    return TorchFile(tensors, scalars, notes)


def _nested(name: str, item: Any) -> bool:
    """Whether a state dict stands under a key; `params` may also be settings."""
    if not isinstance(item, Mapping):
        return False
    tensors = [isinstance(value, torch.Tensor) for value in item.values()]
    return name in _SURE or (bool(tensors) and all(tensors))


def as_tensor(value: Any, name: str, where: str, role: str | None = None) -> Tensor:
    """One torch tensor, bit for bit, sharing its memory.

    Raises
    ------
    CatalogError
        If it is no dense tensor of a known dtype.
    """
    if not isinstance(value, torch.Tensor):
        raise CatalogError(
            f"{where}: {name!r} is a {type(value).__name__}, a tensor was expected. If "
            f"this file wraps its state dict, the key should be one of "
            f"{', '.join(CONTAINERS)}."
        )
    kind = _NAMES.get(value.dtype)
    if kind is None or value.layout != torch.strided or value.is_meta:
        found = "meta" if value.is_meta else f"{value.layout}, {value.dtype}"
        raise CatalogError(
            f"{where}: tensor {name!r} is {found}; expected a dense tensor of "
            f"{', '.join(DTYPES)}. Save .to_dense() or .dequantize() of it."
        )
    value = value.detach()
    if value.is_conj() or value.is_neg():
        value = value.resolve_conj().resolve_neg()
    if not value.is_contiguous():
        # A tiny file can announce a huge tensor whose values are all the same bytes.
        if value.nbytes > value.untyped_storage().nbytes():
            raise CatalogError(
                f"{where}: tensor {name!r} of shape {tuple(value.shape)} has only "
                f"{value.untyped_storage().nbytes()} bytes behind it (an expanded view). "
                "Save .contiguous() of it."
            )
        value = value.contiguous()
    if kind == "bfloat16":
        value = value.view(torch.uint16)
    values: Array = value.cpu().numpy()
    return Tensor(values, kind, role)


def copied(tensor: Tensor) -> Tensor:
    """The same in memory of its own."""
    return Tensor(np.array(tensor.values, copy=True), tensor.dtype, tensor.role)
