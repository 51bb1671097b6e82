"""Conversion of values to the types of annotations.

A `Text`, which comes from a command line, is read as JSON if possible, otherwise as itself:

============  ====================================================================
annotation    accepted text
============  ====================================================================
``None``      ``null`` or ``none``, in any case
``bool``      ``true`` or ``false``, in any case
``int``       ``20``, but not ``20.0``, ``2e1`` or ``true``
``float``     ``0.5``, ``.5``, ``5e-1``, ``1``: finite numbers; an int stays an int
``str``       the text as it is, so ``1``, ``true`` and ``[a]`` are text; a JSON string
              in double quotes where the bare text means another value, such as
              ``"null"`` for an optional text
``Literal``   one of the values of the annotation
a sequence    a JSON list; for ``tuple[...]`` it is converted to a tuple
a mapping     a JSON object
a record      a JSON object with fields of the dataclass
``Any``       JSON, otherwise text
============  ====================================================================

For a union, the first reading that fits a member is taken, and plain text is read last.
Values that are not `Text` must have the type already: within lists and objects, and from
Python, ``"1"`` is not a number. NaN and infinity are refused, because settings are stored
as JSON, which has neither.
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
    """Text from a command line, which stands for a value of the expected type."""

    __slots__ = ()


class Misfit(Exception):
    """Exception for a value that does not fit an annotation.

    Parameters
    ----------
    at : tuple of str
        Name of the setting, followed by the names of the fields that lead to the value.
    wanted : Parameter
        The parameter that the value was given for.
    value : Any
        The value.
    """

    def __init__(self, at: tuple[str, ...], wanted: Parameter, value: Any) -> None:
        super().__init__(at, wanted, value)
        self.at, self.wanted, self.value = at, wanted, value


def fitting(wanted: Parameter, value: Any, at: tuple[str, ...]) -> Any:
    """Return a value converted to the type of a parameter.

    Parameters
    ----------
    wanted : Parameter
        The parameter.
    value : Any
        The value; a `Text` is read as described in the module docstring.
    at : tuple of str
        Name of the setting, followed by the names of the fields that lead to the value.

    Raises
    ------
    Misfit
        If the value fits no member of the annotation. Of several misfits, the most deeply
        nested is raised.
    NotFound
        If a record has no such field.
    BadSetting
        If a record lacks a required field, or its class refuses the values.
    """
    misfits = [Misfit(at, wanted, value)]
    loose = Any in wanted.kinds
    for reading in _meanings(value, loose) if isinstance(value, Text) else (value,):
        for kind in wanted.kinds:
            try:
                return _fitted(kind, reading, at)
            except Misfit as misfit:
                misfits.append(misfit)
    raise max(misfits, key=lambda misfit: len(misfit.at))


def is_list(origin: Any) -> bool:
    """Return True if lists or tuples are values of an annotation."""
    if not isinstance(origin, type) or origin is object:
        return False
    return issubclass(tuple, origin) or issubclass(list, origin)


def is_record(origin: Any) -> bool:
    """Return True for a dataclass all of whose bases are dataclasses."""
    if not isinstance(origin, type) or not is_dataclass(origin):
        return False
    return all(base is object or is_dataclass(base) for base in origin.__mro__)


def _meanings(text: Text, loose: bool) -> Iterator[Any]:
    """Yield the possible readings of a text; the text itself comes last."""
    word = text.strip().lower()
    if word in _WORDS:
        yield _WORDS[word]
    else:
        try:
            yield json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):  # includes integers that are too long
            for convert in () if loose else (int, float):  # Python reads .5, JSON does not
                try:
                    yield convert(text)
                except ValueError:
                    continue
    yield str(text)


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not valid JSON.")


def _fitted(kind: Any, value: Any, at: tuple[str, ...]) -> Any:
    """Return a value converted to one member of a union, or raise `Misfit`."""
    origin, args = typing.get_origin(kind) or kind, typing.get_args(kind)
    misfit = Misfit(at, Parameter(kind), value)
    if origin in (Any, object) or isinstance(kind, typing.TypeVar):
        return value
    if origin is Literal:
        for choice in args:
            if type(choice) is type(value) and choice == value:
                return choice
    elif origin in PLAIN:
        fits, convert = PLAIN[origin]
        if fits(value):
            return convert(value)
    elif not isinstance(origin, type) or getattr(origin, "_is_protocol", False):
        return value  # isinstance cannot check it: the receiver does
    elif origin is Path and isinstance(value, str):
        return Path(value)
    elif is_record(origin) and isinstance(value, Mapping):
        return _record(origin, value, at)
    elif issubclass(origin, Mapping) and isinstance(value, Mapping):
        key, hint = args or (Any, Any)
        return {
            fitting(Parameter(key), name, at): fitting(Parameter(hint), element, at)
            for name, element in value.items()
        }
    elif is_list(origin) and isinstance(value, list | tuple):
        hints = _element_hints(origin, args, len(value))
        if hints is not None:
            pairs = zip(hints, value, strict=True)
            elements = [fitting(Parameter(hint), element, at) for hint, element in pairs]
            keep_list = isinstance(value, list) and origin is not tuple
            return elements if keep_list or origin is list else tuple(elements)
    elif isinstance(value, origin) and not isinstance(value, str | bytes):
        return value
    raise misfit


def _record(kind: Any, value: Mapping[str, Any], at: tuple[str, ...]) -> Any:
    """Return a record with the given fields; the other fields have their defaults."""
    known = parameters(kind)
    for name in value:
        if name not in known:
            raise NotFound(
                f"{'.'.join(at)} has no field {name!r}. {closest(str(name), known)}"
            )
    for name, field in known.items():
        if field.required and name not in value:
            raise BadSetting(f"{'.'.join(at)} needs the field {name!r}.")
    field_values = {
        name: fitting(known[name], field_value, (*at, name))
        for name, field_value in value.items()
    }
    try:
        return kind(**field_values)
    except CatalogError:
        raise
    except ValueError as error:
        raise BadSetting(f"{'.'.join(at)}: {error}") from error


def _element_hints(origin: Any, args: tuple[Any, ...], n: int) -> Sequence[Any] | None:
    """Return the annotations of n elements; None if n does not fit the annotation."""
    if origin is tuple and args and args[-1] is not Ellipsis:
        return args if len(args) == n else None
    return [args[0] if args else Any] * n
