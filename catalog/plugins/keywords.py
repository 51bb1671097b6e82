"""Signatures of functions whose keywords are the fields of a record."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def takes(record: type, *, without: str = "") -> Callable[[Function], Function]:
    """Return a decorator that shows a record's fields as keywords of a function.

    The function collects them with ``**``; `help` and editors see each with its default.

    Parameters
    ----------
    record : type
        Dataclass that the function makes from the keywords.
    without : str, default=""
        Field that the function takes under another name.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Size:
    ...     width: int = 3
    >>> @takes(Size)
    ... def area(height, **size): ...
    >>> print(inspect.signature(area))
    (height, *, width: 'int' = 3)
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        shown = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        named = {p.name for p in shown}
        shown += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty
                if field.default is MISSING
                else field.default,
                annotation=field.type,
            )
            for field in fields(record)
            if field.name not in {*named, without}
            and (field.default is not MISSING or field.kw_only)
        ]
        vars(function)["__signature__"] = signature.replace(parameters=shown)
        return function

    return decorate
