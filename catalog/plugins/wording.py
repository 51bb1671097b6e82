"""Descriptions of annotations in words, and example values."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from typing import Any, Literal

from catalog.plugins.parameters import Parameter, kinds_of, parameters
from catalog.plugins.readings import is_list, is_record

_WORDS = {
    Any: "any value",
    type(None): "null",
    int: "a whole number",
    float: "a finite number",
    str: "text",
}
_MANY = {int: "whole numbers", float: "finite numbers", str: "texts"}
_EXAMPLES: dict[Any, Any] = {type(None): None, bool: True, int: 1, float: 0.5, str: "text"}


def said(hint: Any) -> str:
    """Describe an annotation in words.

    Examples
    --------
    >>> said(int | None), said(Literal["a", "b"]), said(list[float])
    ('a whole number or null', "'a' or 'b'", 'a list of finite numbers')
    """
    words = [word for kind in kinds_of(hint) for word in _words(kind)]
    last_word = words.pop()
    return f"{', '.join(words)} or {last_word}" if words else last_word


def example(wanted: Parameter, instead_of: object = None) -> Any:
    """Return an example value in JSON types: the default, or a value of the same type.

    Parameters
    ----------
    wanted : Parameter
        The parameter.
    instead_of : object
        The value that was given. If it is text and a list of texts is expected, the
        example is a list that holds the text.

    Examples
    --------
    >>> example(Parameter(list[str], []), "lr"), example(Parameter(int, 5))
    (['lr'], 5)
    """
    for kind in wanted.kinds:
        if isinstance(instead_of, str) and _element(kind) is str:
            return [str(instead_of)]
    if not wanted.required and wanted.default is not None and _is_json(wanted.default):
        return wanted.default
    return _made_up(wanted.kinds[0])


def _words(kind: Any) -> list[str]:
    origin, args = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Literal:
        return ["null" if word is None else repr(word) for word in args]
    if origin is bool:
        return ["true", "false"]
    if origin in _WORDS:
        return [_WORDS[origin]]
    if is_record(origin):
        return [f"an object with fields of {', '.join(parameters(origin))}"]
    if _is_mapping(origin):
        return ["an object"]
    if origin is tuple and args and args[-1] is not Ellipsis:
        return [f"a list of {len(args)}: {', '.join(said(hint) for hint in args)}"]
    if is_list(origin):
        hint = _element(kind)
        if hint is Any:
            return ["a list"]
        return [
            f"a list of {_MANY[hint]}" if hint in _MANY else f"a list, each {said(hint)}"
        ]
    return [f"a Python {getattr(origin, '__name__', origin)}"]


def _element(kind: Any) -> Any:
    """Return the annotation of a list's elements; None for other annotations."""
    origin, args = typing.get_origin(kind) or kind, typing.get_args(kind)
    if not is_list(origin):
        return None
    return args[0] if args else Any


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _made_up(kind: Any) -> Any:
    origin, args = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Literal:
        return args[0]
    if is_record(origin):
        name, field = next(iter(parameters(origin).items()))
        return {name: example(field)}
    if origin is tuple and args and args[-1] is not Ellipsis:
        return [_made_up(kinds_of(hint)[0]) for hint in args]
    hint = _element(kind)
    if hint is not None:
        return [_made_up(kinds_of(hint)[0])]
    return {} if _is_mapping(origin) else _EXAMPLES.get(origin)
