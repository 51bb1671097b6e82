"""Parsing (`parse`) and checking (`checked`) of settings ``--set NAME=VALUE``.

Every command that takes ``--set``, and the Python function behind it, parses and checks its
settings with these two functions before it does anything else. The annotations of the
configured object determine the allowed values and their notation, see
`catalog.plugins.readings`.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from catalog.errors import BadSetting, CatalogError, NotFound, ShardCorrupt, closest
from catalog.plugins.parameters import parameters
from catalog.plugins.readings import Misfit, Text, fitting
from catalog.plugins.wording import example, said

Settings = Mapping[str, Any] | Iterable[str]
"""Values by name, or texts such as ``"samples=2000"``."""


def parse(settings: Settings, form: str = "NAME=VALUE") -> dict[str, Any]:
    """Parse settings to values by name; the last value of a repeated name counts.

    Parameters
    ----------
    settings : mapping or iterable of str
        Texts of the form NAME=VALUE, or a mapping, which is returned as a dict.
    form : str
        Expected form of a text, for errors.

    Raises
    ------
    CatalogError
        If a text has no name or no equals sign.

    Examples
    --------
    >>> parse(["size=4", "where=a=b"])
    {'size': '4', 'where': 'a=b'}
    """
    if isinstance(settings, Mapping):
        return dict(settings)
    values = {}
    for text in [settings] if isinstance(settings, str) else settings:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CatalogError(f"--set takes {form}. Got {str(text)!r}.")
        values[name] = Text(value)
    return values


def checked(
    what: Any, values: Mapping[str, Any], of: str, prefix: str = ""
) -> dict[str, Any]:
    """Check values against parameters and return them converted to the parameters' types.

    Parameters
    ----------
    what : callable, record or dict of str to Parameter
        Object whose parameters are set, see `catalog.plugins.parameters.parameters`.
    values : mapping of str to Any
        Values by name, as `parse` returns them.
    of : str
        Description of the object, such as ``"the probe 'linear'"``.
    prefix : str
        Prefix of the names on the command line.

    Raises
    ------
    NotFound
        If there is no such parameter, or no such field of a record; the error lists the
        closest names.
    BadSetting
        If a value does not fit. The error states what was expected and what to paste.

    Examples
    --------
    >>> def soup(size: int = 16, aligned: bool = True): ...
    >>> checked(soup, parse(["size=4", "aligned=False"]), "soup")
    {'size': 4, 'aligned': False}
    >>> checked(soup, parse(["size=many"]), "soup")
    Traceback (most recent call last):
    ...
    catalog.errors.BadSetting: size of soup must be a whole number. Got 'many'. Pass, \
for example, --set size=16
    """
    known_parameters = what if isinstance(what, dict) else parameters(what)
    converted = {}
    for name, value in values.items():
        if name not in known_parameters:
            raise NotFound(
                f"{of[:1].upper()}{of[1:]} has no parameter {name!r}. "
                f"{closest(str(name), known_parameters)}"
            )
        default = known_parameters[name].default
        if type(value) is type(default) and value == default:
            converted[name] = value  # defaults such as infinity fit no annotation
            continue
        try:
            converted[name] = fitting(known_parameters[name], value, (f"{prefix}{name}",))
        except Misfit as misfit:
            raise BadSetting(_message(misfit, of)) from misfit
    return converted


@contextlib.contextmanager
def settings_of_file(path: str | Path) -> Iterator[None]:
    """Turn errors about settings that a file holds into an error that names the file.

    Raises
    ------
    ShardCorrupt
        In place of `BadSetting` and `NotFound`, whose advice on what to pass does not
        apply to a file.
    """
    try:
        yield
    except (BadSetting, NotFound) as error:
        reason = str(error).partition(" Pass, for example, ")[0]
        raise ShardCorrupt(
            f"{path} holds settings with which it cannot have been fitted: {reason}"
        ) from error


def _message(misfit: Misfit, of: str) -> str:
    suggestion = example(misfit.wanted, misfit.value)
    for field in reversed(misfit.at[1:]):
        suggestion = {field: suggestion}
    suggested_text = suggestion if isinstance(suggestion, str) else json.dumps(suggestion)
    return (
        f"{'.'.join(misfit.at)} of {of} must be "
        f"{said(misfit.wanted.kind)}. Got {_plain(misfit.value)!r}. Pass, for "
        f"example, --set {shlex.quote(f'{misfit.at[0]}={suggested_text}')}"
    )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Text) else value
