"""Settings that a publisher keeps as JSON, as flat columns."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError
from catalog.formats.format import Scalar


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON object; a bare Infinity or NaN is read as such.

    Raises
    ------
    CatalogError
        If the file holds anything else.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CatalogError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CatalogError(f"{path} holds no JSON object but {str(value)[:40]!r}.")
    return value


def flatten(values: Mapping[str, Any], where: str) -> dict[str, Scalar]:
    """Nested settings as columns: ``a::b``, ``a.b`` and ``{a: {b}}`` are ``a_b``.

    Lists and empty objects become JSON text; nothing is evaluated.

    Raises
    ------
    CatalogError
        If two keys become one name.
    """
    found: dict[str, Scalar] = {}
    for key, value in _leaves(values):
        name = re.sub(r"(::|\.|/)", "_", key)
        if name in found:
            raise CatalogError(f"{where}: two settings would be called {name!r}.")
        found[name] = value
    return found


def _leaves(values: Mapping[str, Any]) -> list[tuple[str, Scalar]]:
    found: list[tuple[str, Scalar]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found += [(f"{key}::{inner}", leaf) for inner, leaf in _leaves(value)]
        elif value is None or isinstance(value, str | int | float | bool):
            found.append((str(key), value))
        else:
            found.append((str(key), json.dumps(value, default=str)))
    return found
