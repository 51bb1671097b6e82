"""Options of commands as fields of a record.

A command and the Python function behind it take the same options. A frozen dataclass states
each of them once: type and default as usual, flag and meaning as an `Option` in the
annotation. The command line is made from the record (`options_of`), and the record checks
its own values (`check_options`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import click

from catalog.errors import CatalogError

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Option:
    """Option of the command line that a field of a record stands for.

    Attributes
    ----------
    flag : str
        Flag such as ``"--by"``.
    meaning : str
        Help of the option, and the meaning of the field.
    metavar : str or None
        Placeholder of the value in the help.
    choices : tuple of str
        Allowed values; empty: any.
    least : int or None
        Smallest allowed number.
    several : bool
        True if the option may be repeated; the field holds all values.
    shown : bool
        True if the help shows the default, unless that is None.
    """

    flag: str
    meaning: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    least: int | None = None
    several: bool = False
    shown: bool = True

    def added(self, function: Function, name: str, default: Any) -> Function:
        """Add the option to a command; it is required if the default is MISSING."""
        arguments: dict[str, Any] = {"metavar": self.metavar, "help": self.meaning}
        if default is MISSING:
            arguments["required"] = True
        elif isinstance(default, bool):
            arguments["is_flag"] = True
        elif not self.several:
            shown = self.shown and default is not None
            arguments |= {"default": default, "show_default": shown}
        if self.choices:
            arguments["type"] = click.Choice(self.choices)
        elif self.least is not None:
            arguments["type"] = click.IntRange(self.least)
        return click.option(self.flag, name, multiple=self.several, **arguments)(function)

    def check(self, value: Any) -> None:
        """Raise `CatalogError` if the value of the field is not allowed."""
        if value is None:
            return
        if self.choices and value not in self.choices:
            allowed = ", ".join(self.choices)
            raise CatalogError(f"{self.flag} must be one of {allowed}. Got {value!r}.")
        if self.least is not None and value < self.least:
            raise CatalogError(f"{self.flag} must be at least {self.least}. Got {value!r}.")


def options_in(record: type) -> dict[str, Option]:
    """Return the options of a record by the names of their fields, inherited ones last."""
    hints = get_type_hints(record, include_extras=True)
    ordered = sorted(hints, key=lambda name: name not in record.__annotations__)
    return {
        name: option
        for name in ordered
        if get_origin(hints[name]) is Annotated
        for option in get_args(hints[name])[1:]
    }


def options_of(record: type) -> Callable[[Function], Function]:
    """Return a decorator that adds the options of a record to a command.

    The command gets the values by the names of the fields.
    """
    defaults = {field.name: field.default for field in fields(record)}

    def add(function: Function) -> Function:
        for name, option in reversed(options_in(record).items()):
            function = option.added(function, name, defaults[name])
        return function

    return add


def check_options(record: Any) -> None:
    """Check the values of a record.

    Raises
    ------
    CatalogError
        If a value is not one of the choices of its field, or too small.
    """
    for name, option in options_in(type(record)).items():
        option.check(getattr(record, name))
