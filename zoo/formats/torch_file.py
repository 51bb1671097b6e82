"""Reading of files of `torch.save` without running any code that they contain."""

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
    """Content of a file of `torch.save`.

    Attributes
    ----------
    tensors : dict of str to Tensor
        Tensors of the state dict, in its order.
    scalars : dict of str to scalar
        Scalars beside the state dict.
    notes : dict of str to str
        Notes about the reading: ``stripped_prefix``, ``not_imported``.
    """

    tensors: dict[str, Tensor]
    scalars: dict[str, Scalar]
    notes: dict[str, str]


def read_torch_file(path: Path) -> TorchFile:
    """Read a state dict, or a dict that holds a state dict under a usual key.

    Raises
    ------
    CatalogError
        If the file holds anything else or would run code; the message names it.
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
        # Torch's message advises to run the code in the file, so only its reason is kept.
        match = re.search(r"Unsupported (?:global|class|operand)[^.\n]*", str(error))
        reason = match[0] if match else str(error).strip().split("\n")[0]
        if "weights_only" in reason:
            reason = "It holds objects that are not tensors"
        raise CatalogError(
            f"{path} is not a file of tensors: {reason.rstrip('.')}. Expected a state "
            "dict written by torch.save; no code in the file was run. If you trust the "
            "file, convert it: torch.save(module.state_dict(), FILE)"
        ) from error
    return state_of(value, str(path))


def state_of(value: Any, where: str) -> TorchFile:
    """Separate a loaded value into tensors, scalars and notes.

    Raises
    ------
    CatalogError
        If the value is neither a state dict nor a dict that holds exactly one.
    """
    if not isinstance(value, Mapping):
        raise CatalogError(
            f"{where} holds a {type(value).__name__}; expected a state dict, or a dict "
            f"that holds a state dict under one of the keys {', '.join(CONTAINERS)}."
        )
    nested = [name for name in CONTAINERS if _nested(name, value.get(name))]
    if len(nested) > 1:
        raise CatalogError(
            f"{where} has several state dicts: {', '.join(nested)}. Save the one to import "
            "in a separate file."
        )
    scalars: dict[str, Scalar] = {}
    notes: dict[str, str] = {}
    state = value
    if nested:
        state, not_imported = value[nested[0]], []
        for name, item in value.items():
            if isinstance(item, torch.Tensor) and item.dim() == 0 and not item.is_complex():
                item = item.item()
            if item is None or isinstance(item, str | int | float | bool):
                scalars[str(name)] = item
            elif name != nested[0]:
                not_imported.append(str(name))
        if not_imported:
            notes["not_imported"] = ", ".join(not_imported)
    wrong_keys = [name for name in state if not isinstance(name, str)]
    if wrong_keys or not state:
        raise CatalogError(
            f"{where}: a state dict must map names to tensors. Got "
            + (f"the key {wrong_keys[0]!r}." if wrong_keys else "an empty dict.")
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
    """Return whether an item is a state dict; `params` may also hold settings."""
    if not isinstance(item, Mapping):
        return False
    tensors = [isinstance(value, torch.Tensor) for value in item.values()]
    return name in _SURE or (bool(tensors) and all(tensors))


def as_tensor(value: Any, name: str, where: str, role: str | None = None) -> Tensor:
    """Convert one torch tensor bit for bit, sharing its memory if possible.

    Parameters
    ----------
    value : object
        Value that should be a tensor.
    name : str
        Name of the value, for errors.
    where : str
        Source of the value, for errors.
    role : str, optional
        Role of the tensor in its layout.

    Raises
    ------
    CatalogError
        If the value is not a dense tensor of a known dtype.
    """
    if not isinstance(value, torch.Tensor):
        raise CatalogError(
            f"{where}: {name!r} is a {type(value).__name__}; expected a tensor. If the "
            f"file wraps its state dict in another dict, the key must be one of "
            f"{', '.join(CONTAINERS)}."
        )
    kind = _NAMES.get(value.dtype)
    if kind is None or value.layout != torch.strided or value.is_meta:
        description = "meta" if value.is_meta else f"{value.layout}, {value.dtype}"
        raise CatalogError(
            f"{where}: tensor {name!r} is {description}; expected a dense tensor of "
            f"{', '.join(DTYPES)}. Save the result of its .to_dense() or .dequantize()."
        )
    value = value.detach()
    if value.is_conj() or value.is_neg():
        value = value.resolve_conj().resolve_neg()
    if not value.is_contiguous():
        # A tiny file can declare a huge tensor whose values all share the same bytes.
        if value.nbytes > value.untyped_storage().nbytes():
            raise CatalogError(
                f"{where}: tensor {name!r} of shape {tuple(value.shape)} has only "
                f"{value.untyped_storage().nbytes()} bytes of storage (an expanded view). "
                "Save the result of its .contiguous()."
            )
        value = value.contiguous()
    if kind == "bfloat16":
        value = value.view(torch.uint16)
    values: Array = value.cpu().numpy()
    return Tensor(values, kind, role)


def copied(tensor: Tensor) -> Tensor:
    """Return a copy of a tensor that owns its memory."""
    return Tensor(np.array(tensor.values, copy=True), tensor.dtype, tensor.role)
