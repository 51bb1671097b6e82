"""Generators by name, and `--set NAME=VALUE` as their parameters."""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import generators.methods
import generators.nulls
from catalog import CatalogError, NotFound
from catalog.errors import closest
from catalog.registry import public
from generators.generator import Generator
from generators.saving import generator_name


def generators_known() -> dict[str, type[Generator]]:
    """All generators by name: methods, then nulls."""
    return {
        **public(generators.methods, Generator),
        **public(generators.nulls, Generator),
    }


def generator_class(name: str) -> type[Generator]:
    """A generator by name.

    Raises
    ------
    NotFound
        If there is none, with the closest names.
    """
    known = generators_known()
    if name not in known:
        raise NotFound(f"No generator {name!r}. {closest(name, known)}")
    return known[name]


def generator_named(name: str, settings: Sequence[str] = ()) -> Generator:
    """An unfitted generator.

    Parameters
    ----------
    settings : sequence of str
        Each ``NAME=VALUE``; the value is JSON, or else text. Where a parameter takes a
        record, its fields as an object: ``schedule={"iterations": 500}``.

    Raises
    ------
    NotFound
        If there is no such generator or parameter, with the closest names.
    CatalogError
        If a value has another type.
    """
    kind = generator_class(name)
    parameters = inspect.signature(kind).parameters
    hints = typing.get_type_hints(kind.__init__)
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise CatalogError(f"--set takes NAME=VALUE. Got {setting!r}.")
        if key not in parameters:
            raise NotFound(
                f"The generator {name!r} has no parameter {key!r}. "
                f"{closest(key, parameters)}"
            )
        values[key] = _value(name, key, text, hints.get(key), parameters[key].default)
    return kind(**values)


def open_generator(path: str | Path) -> Generator:
    """The fitted generator in a file, of whatever class."""
    return generator_class(generator_name(path)).load(path)


def _value(name: str, key: str, text: str, hint: Any, default: Any) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if union else (hint,)
    for kind in kinds:
        if isinstance(value, dict) and dataclasses.is_dataclass(kind):
            fields = [f.name for f in dataclasses.fields(kind)]
            if unknown := [field for field in value if field not in fields]:
                raise NotFound(
                    f"{key} of the generator {name!r} has no field {unknown[0]!r}. "
                    f"{closest(unknown[0], fields)}"
                )
            return kind(**value)  # type: ignore[operator]
    plain = {k for k in kinds if k in (bool, int, float, str)}
    fits = type(value) in plain or (type(value) is int and float in plain)
    fits = fits or (value is None and type(None) in kinds)
    if plain == set(kinds) - {type(None)} and not fits:
        raise CatalogError(
            f"--set {key}: the generator {name!r} takes "
            f"{', '.join(sorted(k.__name__ for k in plain))}, by default {default!r}. "
            f"Got {value!r}."
        )
    return value
