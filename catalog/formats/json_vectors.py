"""Reader of flat weight vectors in JSON: a list of objects, or one object per line.

Every object has one list of numbers, called weights, vector, params, parameters or w; its
other entries are columns. An object ``{"layout": [{"name", "shape"}], "networks": [...]}``
assigns the numbers to tensors; without a layout, the vector is one tensor. Numbers become
float32 if float32 represents all numbers of the file exactly, otherwise float64.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from catalog.dtypes import Array
from catalog.errors import CatalogError
from catalog.formats.format import Network, Tensor
from catalog.formats.source import network

_VECTORS = ("weights", "vector", "params", "parameters", "w")
_NAMES = ("id", "name")
_Layout = list[tuple[str, tuple[int, ...]]]


class JsonVectors:
    """Reader that holds the whole file in memory, so it suits small networks only."""

    name = "json_vectors"
    summary = "a .json or .jsonl with one list of weights per network"

    def recognises(self, source: Path) -> bool:
        """Return True if a file has the suffix and its beginning names a vector."""
        if not source.is_file() or source.suffix not in (".json", ".jsonl"):
            return False
        with source.open("rb") as file:
            start = file.read(1 << 16)
        return any(f'"{name}"'.encode() in start for name in _VECTORS)

    def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
        """Yield networks in the order of the file."""
        if metadata is not None:
            raise CatalogError(
                f"The columns of {source} are stored in the file; drop --metadata."
            )
        layout, entries = _parse(source)
        vectors = [
            _vector(entry, f"{source}: network {i}") for i, entry in enumerate(entries)
        ]
        exact = all(_is_float32(values) for _, values in vectors)
        kind = "float32" if exact else "float64"
        for i, (entry, (key, values)) in enumerate(zip(entries, vectors, strict=True)):
            name = str(next((entry[k] for k in _NAMES if k in entry), i))
            stored = values.astype(kind)
            tensors = _tensors(stored, layout, f"{source}: network {name!r}")
            columns = {k: v for k, v in entry.items() if k != key}
            yield network(name, tensors, columns)


def _parse(source: Path) -> tuple[_Layout | None, list[dict[str, Any]]]:
    try:
        text = source.read_text(encoding="utf-8")
        if source.suffix == ".jsonl":
            value: Any = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            value = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise CatalogError(f"{source} is not readable JSON: {error}") from error
    layout = None
    if isinstance(value, dict):
        layout = _layout(value.get("layout"), source)
        value = value.get("networks", [value])
    if not isinstance(value, list) or not all(isinstance(e, dict) for e in value):
        raise CatalogError(f"{source} must hold a list of objects, one per network.")
    return layout, value


def _layout(value: Any, source: Path) -> _Layout | None:
    if value is None:
        return None
    try:
        params = [(str(p["name"]), tuple(int(s) for s in p["shape"])) for p in value]
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise CatalogError(
            f'{source}: "layout" must be [{{"name": NAME, "shape": [SIZES]}}, ...]; '
            f"{error!r}."
        ) from error
    names = [name for name, _ in params]
    if len(set(names)) < len(names) or any(s < 0 for _, shape in params for s in shape):
        raise CatalogError(f'{source}: "layout" repeats a name or has a negative size.')
    return params


def _vector(entry: dict[str, Any], where: str) -> tuple[str, Array]:
    keys = [key for key in _VECTORS if isinstance(entry.get(key), list)]
    if len(keys) != 1:
        raise CatalogError(
            f"{where} must have exactly one list of numbers, called {', '.join(_VECTORS)}. "
            f"It has: {', '.join(entry)}."
        )
    for i, number in enumerate(entry[keys[0]]):
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise CatalogError(f"{where}: {keys[0]}[{i}] must be a number. Got {number!r}.")
    try:
        return keys[0], np.array(entry[keys[0]], np.float64)
    except OverflowError as error:
        raise CatalogError(
            f"{where}: {keys[0]} has a number that is too large for float64."
        ) from error


def _is_float32(values: Array) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = values.astype(np.float32)
    return bool(((narrow == values) | np.isnan(values)).all())


def _tensors(values: Array, layout: _Layout | None, where: str) -> dict[str, Tensor]:
    if layout is None:
        return {"weights": Tensor(values, values.dtype.name)}
    sizes = [math.prod(shape) for _, shape in layout]
    if sum(sizes) != len(values):
        raise CatalogError(
            f"{where} has {len(values)} weights, but the layout describes {sum(sizes)}."
        )
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return {
        name: Tensor(part.reshape(shape), values.dtype.name)
        for (name, shape), part in zip(layout, parts, strict=True)
    }


FORMAT = JsonVectors()
