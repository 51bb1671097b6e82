"""Generators by name, with settings as their parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from catalog import CatalogError, NotFound
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


def generator_named(name: str, settings: Settings = ()) -> Generator:
    """Return an unfitted generator.

    Parameters
    ----------
    settings : mapping or iterable of str
        Values by name, or texts such as ``"size=4"``; see `catalog.plugins.settings`.
        ``preset=NAME`` begins with one of `presets_of`; others are its arguments, or else
        those of the generator in place of what it sets.

    Raises
    ------
    NotFound
        If there is no such generator, preset or parameter, with the closest names.
    CatalogError
        If a value has another type, or the generator has no presets.
    """
    kind, given = generator_class(name), parse(settings)
    presets, chosen = presets_of(kind), given.pop("preset", None)
    if chosen is not None and not presets:
        raise CatalogError(
            f"The generator {name!r} has no presets. Leave out --set "
            f"preset={word(chosen)}; 'deepweightflow' has preset=paper."
        )
    if chosen is not None and chosen not in presets:
        raise NotFound(
            f"The generator {name!r} has no preset {str(chosen)!r}. "
            f"{closest(str(chosen), presets)}"
        )
    make: Callable[..., Generator] = kind if chosen is None else presets[chosen]
    own = parameters(make)
    values = checked({**parameters(kind), **own}, given, f"the generator {name!r}")
    made = make(**{key: value for key, value in values.items() if key in own})
    others = {key: value for key, value in values.items() if key not in own}
    if others:
        made = kind(**{**constructed_with(made), **others})
    made.check()
    return made


def open_generator(path: str | Path) -> Generator:
    """The fitted generator in a file, of whatever class."""
    return generator_class(generator_name(path)).load(path)
