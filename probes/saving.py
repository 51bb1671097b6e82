"""Fitted probes as one safetensors file: arrays as tensors, the rest as JSON text.

Nothing in the file is code: what is read is built from numbers, text and the classes
named here, so that a file of somebody else can be opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import probes.estimators
import probes.text
from catalog import CatalogError, Layout, __version__
from catalog.dtypes import Array
from catalog.foreign import Tensor
from catalog.registry import lookup, public
from catalog.safetensors_file import read_header, read_tensors, write_file
from probes.exact.centring import Centring
from probes.exact.expert import Expert
from probes.layers import Dense, LowRank
from probes.learning.bases import Bases
from probes.lineage.router import Routes
from probes.probe import Probe, fitted
from probes.statistics.boosting import Boosting
from probes.statistics.shaping import Shaping
from probes.statistics.smooth import Smooth
from probes.targets import Targets

_FORMAT = 1
_RECORDS = {
    c.__name__: c
    for c in (
        Bases, Boosting, Centring, Dense, Expert, LowRank, Routes, Shaping, Smooth, Targets
    )
}  # fmt: skip
"""Classes whose fields are kept one by one."""


def save(probe: Probe, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
    """Write a fitted probe.

    Parameters
    ----------
    path : str or Path
        A safetensors file.
    about : mapping, optional
        What else is known, such as the query its networks came from: JSON values.

    Raises
    ------
    CatalogError
        If the probe holds something that is no data.
    """
    tensors: dict[str, Tensor] = {}
    body = {
        "format": _FORMAT,
        "phasezoo": __version__,
        "probe": type(probe).name,
        "params": _encode(probe.get_params(deep=False), "params", tensors),
        "fitted": _encode(fitted(probe), "fitted", tensors),
        "about": dict(about or {}),
    }
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")  # a file appears whole or not at all
    with temporary.open("wb") as file:
        write_file(file, tensors, {"probe": json.dumps(body, allow_nan=True)})
    temporary.replace(path)


def load(path: str | Path) -> Probe:
    """The probe that `save` wrote.

    Raises
    ------
    CatalogError
        If the file holds something else, or was written by a newer version.
    NotFound
        If there is no such probe here.
    """
    path = Path(path)
    body = _read(path)
    tensors = {name: tensor.values for name, tensor in read_tensors(path).items()}
    return _rebuilt(body, tensors, path)


def about(path: str | Path) -> dict[str, Any]:
    """What `save` was told about the probe."""
    found: dict[str, Any] = _read(Path(path))["about"]
    return found


def _read(path: Path) -> dict[str, Any]:
    text = read_header(path).metadata.get("probe")
    if text is None:
        raise CatalogError(f"{path} holds no probe; write one with probes.save().")
    body: dict[str, Any] = json.loads(text)
    if body["format"] > _FORMAT:
        raise CatalogError(
            f"{path} was written by phasezoo {body['phasezoo']}, which is newer. Upgrade: "
            "pip install -U phasezoo"
        )
    return body


def _encode(value: Any, at: str, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "US" or value.dtype == object:
            return {"strings": [str(v) for v in value.ravel()], "shape": list(value.shape)}
        tensors[at] = Tensor(np.ascontiguousarray(value), str(value.dtype))
        return {"tensor": at}
    if isinstance(value, Layout):
        return {"layout": value.to_json()}
    if isinstance(value, Probe):
        return {
            "probe": type(value).name,
            "params": _encode(value.get_params(deep=False), f"{at}.params", tensors),
            "fitted": _encode(fitted(value), f"{at}.fitted", tensors),
        }
    if type(value).__name__ in _RECORDS:
        own = {k: _encode(v, f"{at}.{k}", tensors) for k, v in vars(value).items()}
        return {"record": type(value).__name__, "fields": own}
    if isinstance(value, tuple | list):
        items = [_encode(v, f"{at}.{i}", tensors) for i, v in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {k: _encode(v, f"{at}.{k}", tensors) for k, v in value.items()}}
    raise CatalogError(
        f"A probe cannot be saved with {at} of type {type(value).__name__}: only numbers, "
        "text, arrays and layouts are data."
    )


def _rebuilt(body: Mapping[str, Any], tensors: Mapping[str, Array], path: Path) -> Probe:
    """A probe from its name, its parameters and what fitting left."""
    at_text = body["probe"] in public(probes.text, Probe)
    kind = lookup(probes.text if at_text else probes.estimators, Probe, body["probe"])
    probe: Probe = kind(**_decode(body["params"], tensors, path))
    for name, value in _decode(body["fitted"], tensors, path).items():
        setattr(probe, name, value)
    return probe


def _decode(value: Any, tensors: Mapping[str, Array], path: Path) -> Any:
    if isinstance(value, list):
        return [_decode(v, tensors, path) for v in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]].copy()
    if "strings" in value:
        return np.array(value["strings"]).reshape(value["shape"])
    if "probe" in value:
        return _rebuilt(value, tensors, path)
    if "layout" in value:
        return Layout.from_json(value["layout"])
    if "tuple" in value:
        return tuple(_decode(v, tensors, path) for v in value["tuple"])
    if "dict" in value:
        return {k: _decode(v, tensors, path) for k, v in value["dict"].items()}
    if value.get("record") in _RECORDS:
        own = {k: _decode(v, tensors, path) for k, v in value["fields"].items()}
        return _RECORDS[value["record"]](**own)
    raise CatalogError(f"{path} holds something that no probe has: {sorted(value)}.")
