"""Options of the command line, made from the fields of a request."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any

import click

from catalog.console.program import Function
from zoo.workers.request import WorkRequest


def request_options(record: type[WorkRequest]) -> Callable[[Function], Function]:
    """Return a decorator that adds an option for each field declared with `option`.

    Type and default are those of the field, the help is its meaning in the docstring.
    Options that all requests share come last.
    """
    stated = meanings(record)
    declared = [own for own in fields(record) if own.metadata]
    declared.sort(key=lambda own: own.kw_only is True)

    def decorator(function: Function) -> Function:
        for own in reversed(declared):
            function = _option(own, stated[own.name])(function)
        return function

    return decorator


def meanings(record: type) -> dict[str, str]:
    """Return the first paragraph about each attribute in the docstrings of a record.

    A docstring may state an inherited attribute anew.

    Examples
    --------
    >>> meanings(WorkRequest)["device"]
    'Device to compute on: auto, cpu or cuda.'
    """
    stated: dict[str, str] = {}
    for base in reversed(record.__mro__):
        text = inspect.cleandoc(base.__doc__ or "").partition("Attributes\n----------\n")[2]
        for names, meaning in re.findall(
            r"^(\w+(?:, \w+)*) : .*\n((?:    .*\n?)+)", text, re.MULTILINE
        ):
            plain = " ".join(meaning.replace("`", "").split())
            stated |= dict.fromkeys(names.split(", "), plain)
    return stated


def _option(own: Field[Any], meaning: str) -> Callable[[Function], Function]:
    choices, least = own.metadata["choices"], own.metadata["least"]
    kind = None if least is None else click.IntRange(least)
    return click.option(
        f"--{own.name.replace('_', '-')}",
        default=own.default,
        show_default=own.default is not None and own.default is not False,
        is_flag=own.default is False,
        type=click.Choice(choices) if choices else kind,
        metavar=own.metadata["metavar"],
        help=meaning,
    )
