"""Generators by name, with settings as parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from catalog import CatalogError, NotFound
from catalog.console.outlet import note
from catalog.console.pasting import word
from catalog.errors import closest
from catalog.plugins.parameters import parameters
from catalog.plugins.settings import Settings, checked, parse
from generators.file import generator_name
from generators.file import settings as constructed_with
from generators.generator import Generator
from generators.methods import METHODS
from generators.nulls import NULLS

PRESETS = ("paper",)
"""Alternative constructors, by the name that `--set preset=` takes."""


def generators_known() -> dict[str, type[Generator]]:
    """Return all generators by name: methods first, then nulls."""
    return {**METHODS.usable(note), **NULLS.usable(note)}


def generator_class(name: str) -> type[Generator]:
    """Return the class of a generator by name.

    Raises
    ------
    NotFound
        If no generator has this name; the message suggests the closest names.
    """
    if name not in METHODS and name not in NULLS:
        raise NotFound(f"No generator {name!r}. {closest(name, [*METHODS, *NULLS])}")
    return METHODS[name] if name in METHODS else NULLS[name]


def presets_of(kind: type[Generator]) -> dict[str, Callable[..., Generator]]:
    """Return the constructors of a generator with published settings, by preset."""
    return {name: getattr(kind, name) for name in PRESETS if hasattr(kind, name)}


def generator_named(name: str, settings: Settings = ()) -> Generator:
    """Return an unfitted generator.

    Parameters
    ----------
    name : str
        Name of the generator.
    settings : mapping or iterable of str
        Values by name, or texts such as ``"size=4"``; see `catalog.plugins.settings`.
        ``preset=NAME`` starts from one of `presets_of`; further settings are arguments of
        the preset or, where it has no such argument, replace settings of the generator.

    Raises
    ------
    NotFound
        If there is no such generator, preset or parameter; the message suggests the closest
        names.
    CatalogError
        If a value has another type, or the generator has no presets.
    """
    kind, values_by_name = generator_class(name), parse(settings)
    presets, preset = presets_of(kind), values_by_name.pop("preset", None)
    if preset is not None and not presets:
        raise CatalogError(
            f"The generator {name!r} has no presets. Leave out --set "
            f"preset={word(preset)}, or choose 'deepweightflow', which has preset=paper."
        )
    if preset is not None and preset not in presets:
        raise NotFound(
            f"The generator {name!r} has no preset {str(preset)!r}. "
            f"{closest(str(preset), presets)}"
        )
    make: Callable[..., Generator] = kind if preset is None else presets[preset]
    accepted = parameters(make)
    values = checked(
        {**parameters(kind), **accepted}, values_by_name, f"the generator {name!r}"
    )
    generator = make(**{key: value for key, value in values.items() if key in accepted})
    replaced = {key: value for key, value in values.items() if key not in accepted}
    if replaced:
        generator = kind(**{**constructed_with(generator), **replaced})
    generator.check()
    return generator


def open_generator(path: str | Path) -> Generator:
    """Load the fitted generator in a file, whichever its class."""
    return generator_class(generator_name(path)).load(path)
