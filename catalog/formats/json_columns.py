"""Conversion of settings published as JSON to flat columns."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError
from catalog.formats.format import Scalar


def read_settings(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file; bare Infinity and NaN are accepted.

    Raises
    ------
    CatalogError
        If the file cannot be read or does not hold a JSON object.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise CatalogError(f"{path} cannot be read as JSON: {error}") from error
    return parse_settings(text, path)


def parse_settings(text: bytes, where: object) -> dict[str, Any]:
    """Parse a JSON object; bare Infinity and NaN are accepted.

    Parameters
    ----------
    text : bytes
        The JSON text.
    where : object
        Name of its source in errors.

    Raises
    ------
    CatalogError
        If the text does not hold a JSON object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"{where} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CatalogError(f"{where} must hold a JSON object. Got {str(value)[:40]!r}.")
    return value


def flatten(values: Mapping[str, Any], where: str) -> dict[str, Scalar]:
    """Flatten nested settings: ``a::b``, ``a.b`` and ``{a: {b}}`` become column ``a_b``.

    Lists and empty objects become JSON text; nothing is evaluated.

    Raises
    ------
    CatalogError
        If two keys give the same name.
    """
    columns: dict[str, Scalar] = {}
    for key, value in _leaves(values):
        name = re.sub(r"(::|\.|/)", "_", key)
        if name in columns:
            raise CatalogError(f"{where}: two settings would be called {name!r}.")
        columns[name] = value
    return columns


def _leaves(values: Mapping[str, Any]) -> list[tuple[str, Scalar]]:
    leaves: list[tuple[str, Scalar]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            leaves += [(f"{key}::{inner}", leaf) for inner, leaf in _leaves(value)]
        elif value is None or isinstance(value, str | int | float | bool):
            leaves.append((str(key), value))
        else:
            leaves.append((str(key), json.dumps(value, default=str)))
    return leaves
