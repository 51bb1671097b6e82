"""Parameters of a function, class or record: names, annotations and defaults."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

_SEVERAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a callable, or one field of a record.

    Attributes
    ----------
    kind : Any
        Annotation of the parameter; `typing.Any` if there is no annotation, or if it cannot
        be resolved.
    default : Any
        Default value; `inspect.Parameter.empty` if there is no default.
    """

    kind: Any
    default: Any = inspect.Parameter.empty

    @property
    def required(self) -> bool:
        """True if the parameter has no default."""
        return self.default is inspect.Parameter.empty

    @property
    def kinds(self) -> tuple[Any, ...]:
        """Types that the annotation allows: members of a union, or the annotation."""
        return kinds_of(self.kind)


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation itself.

    Examples
    --------
    >>> kinds_of(int | None), kinds_of(str)
    ((<class 'int'>, <class 'NoneType'>), (<class 'str'>,))
    """
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def parameters(what: Any, without: Collection[str] = ()) -> dict[str, Parameter]:
    """Return the parameters of a callable or record, by name.

    Parameters
    ----------
    what : callable or record
        A function, a class, or an instance of a dataclass, whose values are the defaults.
    without : collection of str
        Names to leave out.

    Returns
    -------
    dict of str to Parameter
        All parameters except ``*args``, ``**kwargs`` and the names in ``without``.

    Examples
    --------
    >>> def blur(width: int, *, sigma: float | None = None): ...
    >>> list(parameters(blur)), parameters(blur)["sigma"].kinds
    (['width', 'sigma'], (<class 'float'>, <class 'NoneType'>))
    """
    is_instance = is_dataclass(what) and not isinstance(what, type)
    make: Callable[..., Any] = type(what) if is_instance else what
    hints = dict(_hints(make))
    return {
        name: Parameter(
            hints.get(name, Any), getattr(what, name) if is_instance else parameter.default
        )
        for name, parameter in inspect.signature(make).parameters.items()
        if parameter.kind not in _SEVERAL and name not in without
    }


def _hints(make: Any) -> Iterator[tuple[str, Any]]:
    """Yield names with annotations; the last annotation of a name takes precedence."""
    if not isinstance(make, type):
        function = inspect.unwrap(getattr(make, "__func__", make))
        yield from _resolved(inspect.get_annotations(function), function.__module__)
        return
    # A dataclass may inherit fields from other modules, where their annotations resolve.
    for base in reversed(make.__mro__):
        init = vars(base).get("__init__")
        if isinstance(init, types.FunctionType):
            yield from _resolved(inspect.get_annotations(init), base.__module__)
        if is_dataclass(base):
            yield from _resolved(inspect.get_annotations(base), base.__module__)


def _resolved(hints: Mapping[str, Any], module: str) -> Iterator[tuple[str, Any]]:
    """Yield annotations with their names resolved; skip names that do not resolve."""
    namespace = vars(sys.modules[module]) if module in sys.modules else {}
    for name, hint in hints.items():
        holder = types.SimpleNamespace(__annotations__={name: hint})
        try:
            yield name, typing.get_type_hints(holder, namespace)[name]
        except (NameError, TypeError, AttributeError):
            continue  # imported for type checkers only, or a ClassVar
