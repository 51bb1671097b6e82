"""Options of commands, as fields of a record.

A command and the Python function behind it take the same options. A frozen dataclass
states each of them once, by `option`: type and default as usual, with flag and meaning. The
command line is made from the record (`options_of`), and the record checks its own values
(`check_options`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

import click

from catalog.console.program import Function
from catalog.errors import CatalogError


@dataclass(frozen=True)
class Option:
    """Option of the command line that a field of a record stands for.

    Attributes
    ----------
    flag : str or None
        Flag such as ``"--by"``; None for a field that only Python can set.
    meaning : str
        Help of the option, and the meaning of the field.
    metavar : str or None
        Placeholder of the value in the help.
    choices : tuple of str
        Allowed values; empty: any.
    least : float or None
        Smallest allowed number.
    number : {int, float} or None
        Type of the value if it is a number.
    several : bool
        True if the option may be repeated; the field holds all values.
    shown : bool
        True if the help shows the default, unless that is None.
    """

    flag: str | None
    meaning: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    least: float | None = None
    number: type[int] | type[float] | None = None
    several: bool = False
    shown: bool = True

    def added(self, function: Function, name: str, default: Any) -> Function:
        """Add the option to a command; it is required if the default is MISSING."""
        if self.flag is None:
            return function
        arguments: dict[str, Any] = {"metavar": self.metavar, "help": self.meaning}
        if default is MISSING:
            arguments["required"] = True
        elif isinstance(default, bool):
            arguments |= {"is_flag": True, "default": default}
        elif not self.several:
            shown = self.shown and default is not None
            arguments |= {"default": default, "show_default": shown}
        if self.choices:
            arguments["type"] = click.Choice(self.choices)
        elif self.number is float:
            arguments["type"] = click.FloatRange(self.least)
        elif self.number is int:
            least = None if self.least is None else int(self.least)
            arguments["type"] = click.IntRange(least)
        return click.option(self.flag, name, multiple=self.several, **arguments)(function)

    def check(self, value: Any) -> None:
        """Raise `CatalogError` if the value of the field is not allowed."""
        if value is None:
            return
        if self.choices and value not in self.choices:
            allowed = ", ".join(self.choices)
            raise CatalogError(f"{self.flag} must be one of {allowed}. Got {value!r}.")
        if self.number is None or self.least is None:
            return
        if not (math.isfinite(value) and value >= self.least):
            raise CatalogError(
                f"{self.flag} must be {self.least:g} or more. Got {value!r}."
            )


def option(
    default: Any,
    flag: str | None,
    meaning: str,
    *,
    number: type[int] | type[float] | None = None,
    least: float | None = None,
    **details: Any,
) -> Any:
    """Declare a field of a record that is an option.

    Parameters
    ----------
    default : Any
        Default of the field; `dataclasses.MISSING` if it has none. A bool makes a flag.
    flag, meaning, number, least, **details
        Attributes of `Option`. A number with a ``least`` is an int unless ``number`` says
        otherwise.
    """
    if number is None and least is not None:
        number = int
    described = Option(flag, meaning, number=number, least=least, **details)
    return field(default=default, metadata={"option": described})


def options_in(record: type) -> dict[str, Option]:
    """Return the options of a record by the names of their fields, inherited ones last."""
    by_name = {f.name: f for f in fields(record)}
    ordered = [n for base in record.__mro__ for n in vars(base).get("__annotations__", {})]
    found = {name: by_name[name] for name in ordered if name in by_name}
    return {name: _option(f) for name, f in found.items() if "option" in f.metadata}


def _option(declared: Field[Any]) -> Option:
    described: Option = declared.metadata["option"]
    return described


def options_of(record: type) -> Callable[[Function], Function]:
    """Return a decorator that adds the options of a record to a command.

    The command gets the values by the names of the fields.
    """
    defaults = {field.name: field.default for field in fields(record)}

    def add(function: Function) -> Function:
        for name, described in reversed(options_in(record).items()):
            function = described.added(function, name, defaults[name])
        return function

    return add


def check_options(record: Any) -> None:
    """Check the values of a record.

    Raises
    ------
    CatalogError
        If a value is not one of the choices of its field, or is too small.
    """
    for name, described in options_in(type(record)).items():
        described.check(getattr(record, name))
