"""Generators by name, and `--set NAME=VALUE` as their parameters."""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from catalog import CatalogError, NotFound
from catalog.errors import closest
from generators.file import generator_name
from generators.file import settings as constructed_with
from generators.generator import Generator
from generators.methods import METHODS
from generators.nulls import NULLS

PRESETS = ("paper",)
"""Constructors beside the class itself, by the name that `--set preset=` takes."""


def generators_known() -> dict[str, type[Generator]]:
    """All generators by name: methods, then nulls."""
    return {**METHODS, **NULLS}


def generator_class(name: str) -> type[Generator]:
    """A generator by name.

    Raises
    ------
    NotFound
        If there is none, with the closest names.
    """
    if name not in METHODS and name not in NULLS:
        raise NotFound(f"No generator {name!r}. {closest(name, [*METHODS, *NULLS])}")
    return METHODS[name] if name in METHODS else NULLS[name]


def presets_of(kind: type[Generator]) -> dict[str, Callable[..., Generator]]:
    """Constructors of a generator with the settings of someone else."""
    return {name: getattr(kind, name) for name in PRESETS if hasattr(kind, name)}


def takes_preset(settings: Sequence[str]) -> str | None:
    """The preset that ``preset=NAME`` among settings names."""
    found = [text.partition("=")[2] for text in settings if text.startswith("preset=")]
    return found[-1] if found else None


def generator_named(name: str, settings: Sequence[str] = ()) -> Generator:
    """An unfitted generator.

    Parameters
    ----------
    settings : sequence of str
        Each ``NAME=VALUE``; the value is JSON, or else text. Where a parameter takes a
        record, its fields as an object: ``schedule={"iterations": 500}``. ``preset=NAME``
        begins with one of `presets_of`; others are its arguments, or else those of the
        generator in place of what it sets.

    Raises
    ------
    NotFound
        If there is no such generator, preset or parameter, with the closest names.
    CatalogError
        If a value has another type, or the generator has no presets.
    """
    kind = generator_class(name)
    presets = presets_of(kind)
    chosen = takes_preset(settings)
    if chosen is not None and not presets:
        raise CatalogError(
            f"The generator {name!r} has no presets. Leave out --set preset={chosen}; "
            "'deepweightflow' has preset=paper."
        )
    if chosen is not None and chosen not in presets:
        raise NotFound(
            f"The generator {name!r} has no preset {chosen!r}. {closest(chosen, presets)}"
        )
    make: Callable[..., Generator] = kind if chosen is None else presets[chosen]
    own = _hinted(make)
    every = {**_hinted(kind), **own}
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise CatalogError(f"--set takes NAME=VALUE. Got {setting!r}.")
        if key == "preset":
            continue
        if key not in every:
            raise NotFound(
                f"The generator {name!r} has no parameter {key!r}. {closest(key, every)}"
            )
        values[key] = _value(name, key, text, *every[key])
    made = make(**{key: value for key, value in values.items() if key in own})
    others = {key: value for key, value in values.items() if key not in own}
    return kind(**{**constructed_with(made), **others}) if others else made


def open_generator(path: str | Path) -> Generator:
    """The fitted generator in a file, of whatever class."""
    return generator_class(generator_name(path)).load(path)


def _hinted(make: Callable[..., Generator]) -> dict[str, tuple[Any, Any]]:
    """Type and default of each parameter of a constructor."""
    function = make.__init__ if inspect.isclass(make) else make
    hints = typing.get_type_hints(function)
    return {
        key: (hints.get(key), parameter.default)
        for key, parameter in inspect.signature(make).parameters.items()
    }


def _value(name: str, key: str, text: str, hint: Any, default: Any) -> Any:
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        value = text
    return _checked(name, key, value, hint, default)


def _checked(name: str, key: str, value: Any, hint: Any, default: Any) -> Any:
    """A value of the type that a parameter, or field of a record, has."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if union else (hint,)
    for kind in kinds:
        if isinstance(value, dict) and dataclasses.is_dataclass(kind):
            fields = {field.name: field.default for field in dataclasses.fields(kind)}
            if unknown := [field for field in value if field not in fields]:
                raise NotFound(
                    f"{key} of the generator {name!r} has no field {unknown[0]!r}. "
                    f"{closest(unknown[0], fields)}"
                )
            hints = typing.get_type_hints(kind)
            own = {
                field: _checked(name, f"{key}.{field}", given, hints[field], fields[field])
                for field, given in value.items()
            }
            return kind(**own)  # type: ignore[operator]
    words = [
        repr(word)
        for kind in kinds
        if typing.get_origin(kind) is typing.Literal
        for word in typing.get_args(kind)
    ]
    plain = {k for k in kinds if k in (bool, int, float, str)}
    fits = type(value) in plain or (type(value) is int and float in plain)
    fits = fits or (value is None and type(None) in kinds) or repr(value) in words
    told = sorted(k.__name__ for k in plain) + words
    whole = len(plain) + len({k for k in kinds if typing.get_origin(k) is typing.Literal})
    if whole == len(set(kinds) - {type(None)}) and not fits:
        raise CatalogError(
            f"--set {key}: the generator {name!r} takes {', '.join(told)}, by default "
            f"{default!r}. Got {value!r}."
        )
    return value
