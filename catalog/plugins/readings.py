"""Values against annotations: what fits, and in what type.

A `Text`, as a command line gives it, stands for what it is JSON of, or else for itself:

============  ====================================================================
wanted        written
============  ====================================================================
``None``      ``null`` or ``none``, in any case
``bool``      ``true`` or ``false``, in any case
``int``       ``20``; no ``20.0``, ``2e1`` or ``true``
``float``     ``0.5``, ``.5``, ``5e-1``, ``1``: finite, an int stays one
``str``       as it is, so that ``1``, ``true`` and ``[a]`` are text; in double quotes
              what JSON has, such as ``"null"`` where ``null`` would be no text
``Literal``   one of its values
a sequence    a JSON list; of ``tuple[...]`` it becomes one
a mapping     a JSON object
a record      a JSON object of fields of that dataclass
``Any``       JSON, or else text
============  ====================================================================

Of a union the first that fits is taken, text last. Values of Python must have the type
themselves: within lists and objects, and from Python, ``"1"`` is no number. NaN and
infinity are no values of settings: these are stored as JSON, which has neither.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal

from catalog.errors import BadSetting, CatalogError, NotFound, closest
from catalog.plugins.parameters import Parameter, parameters
from catalog.plugins.plain_types import PLAIN

_WORDS = {"none": None, "null": None, "true": True, "false": False}


class Text(str):
    """What was written on a command line; it stands for a value of the wanted type."""

    __slots__ = ()


class Misfit(Exception):
    """A value that does not fit.

    Parameters
    ----------
    at : tuple of str
        Name of the setting, and of the fields that lead to it from there.
    wanted : Parameter
    value : Any
    """

    def __init__(self, at: tuple[str, ...], wanted: Parameter, value: Any) -> None:
        super().__init__(at, wanted, value)
        self.at, self.wanted, self.value = at, wanted, value


def fitting(wanted: Parameter, value: Any, at: tuple[str, ...]) -> Any:
    """Return a value in the type that is wanted.

    Raises
    ------
    Misfit
        If it has another; the one that is furthest within, of several.
    NotFound
        If a record has no such field.
    """
    found = [Misfit(at, wanted, value)]
    loose = Any in wanted.kinds
    for meant in _meanings(value, loose) if isinstance(value, Text) else (value,):
        for kind in wanted.kinds:
            try:
                return _fitted(kind, meant, at)
            except Misfit as misfit:
                found.append(misfit)
    raise max(found, key=lambda misfit: len(misfit.at))


def is_list(origin: Any) -> bool:
    """Tell whether lists or tuples are values of an annotation."""
    if not isinstance(origin, type) or origin is object:
        return False
    return issubclass(tuple, origin) or issubclass(list, origin)


def is_record(origin: Any) -> bool:
    """Tell whether an annotation is a dataclass with nothing but data in it."""
    if not isinstance(origin, type) or not is_dataclass(origin):
        return False
    return all(base is object or is_dataclass(base) for base in origin.__mro__)


def _meanings(text: Text, loose: bool) -> Iterator[Any]:
    """Yield what a text may stand for; itself comes last."""
    word = text.strip().lower()
    if word in _WORDS:
        yield _WORDS[word]
    else:
        try:
            yield json.loads(text, parse_constant=_refused)
        except (ValueError, RecursionError):  # also integers too long to be converted
            for number in () if loose else (int, float):  # what Python takes and JSON not
                try:
                    yield number(text)
                except ValueError:
                    continue
    yield str(text)


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON.")


def _fitted(kind: Any, value: Any, at: tuple[str, ...]) -> Any:
    """Return a value as one member of a union wants it, or raise `Misfit`."""
    origin, args = typing.get_origin(kind) or kind, typing.get_args(kind)
    misfit = Misfit(at, Parameter(kind), value)
    if origin in (Any, object) or isinstance(kind, typing.TypeVar):
        return value
    if origin is Literal:
        for word in args:
            if type(word) is type(value) and word == value:
                return word
    elif origin in PLAIN:
        fits, made = PLAIN[origin]
        if fits(value):
            return made(value)
    elif not isinstance(origin, type) or getattr(origin, "_is_protocol", False):
        return value  # nothing that values are instances of: whoever takes it checks it
    elif origin is Path and isinstance(value, str):
        return Path(value)
    elif is_record(origin) and isinstance(value, Mapping):
        return _record(origin, value, at)
    elif issubclass(origin, Mapping) and isinstance(value, Mapping):
        key, own = args or (Any, Any)
        return {
            fitting(Parameter(key), name, at): fitting(Parameter(own), one, at)
            for name, one in value.items()
        }
    elif is_list(origin) and isinstance(value, list | tuple):
        each = _each(origin, args, len(value))
        if each is not None:
            pairs = zip(each, value, strict=True)
            listed = [fitting(Parameter(own), one, at) for own, one in pairs]
            keeps = isinstance(value, list) and origin is not tuple
            return listed if keeps or origin is list else tuple(listed)
    elif isinstance(value, origin) and not isinstance(value, str | bytes):
        return value
    raise misfit


def _record(kind: Any, value: Mapping[str, Any], at: tuple[str, ...]) -> Any:
    """Return a record with these fields; others have their defaults."""
    known = parameters(kind)
    for name in value:
        if name not in known:
            raise NotFound(
                f"{'.'.join(at)} has no field {name!r}. {closest(str(name), known)}"
            )
    for name, field in known.items():
        if field.required and name not in value:
            raise BadSetting(f"{'.'.join(at)} needs the field {name!r}.")
    own = {name: fitting(known[name], one, (*at, name)) for name, one in value.items()}
    try:
        return kind(**own)
    except CatalogError:
        raise
    except ValueError as error:
        raise BadSetting(f"{'.'.join(at)}: {error}") from error


def _each(origin: Any, args: tuple[Any, ...], n: int) -> Sequence[Any] | None:
    """Return the annotations of n elements; None if there must be more or fewer."""
    if origin is tuple and args and args[-1] is not Ellipsis:
        return args if len(args) == n else None
    return [args[0] if args else Any] * n
