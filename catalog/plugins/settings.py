"""Settings of things by name: `parse` reads ``--set NAME=VALUE``, `checked` checks.

Every verb that takes ``--set``, and the functions behind them, read and check with these
two, before anything else is done. What a value may be, and how it is written, is said by
the annotations of what it is a setting of, see `catalog.plugins.readings`.
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
    """Return what was set, by name; of what is set twice the last.

    Parameters
    ----------
    settings : mapping or iterable of str
        A mapping holds values already.
    form : str
        What a text must look like, for errors.

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
    found = {}
    for text in [settings] if isinstance(settings, str) else settings:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CatalogError(f"--set takes {form}. Got {str(text)!r}.")
        found[name] = Text(value)
    return found


def checked(
    what: Any, values: Mapping[str, Any], of: str, prefix: str = ""
) -> dict[str, Any]:
    """Return values in the types that parameters have, after all of them were checked.

    Parameters
    ----------
    what : callable, record or dict of str to Parameter
        See `catalog.plugins.parameters.parameters`.
    values : mapping of str to Any
        As `parse` returns them.
    of : str
        The thing in words, such as ``"the probe 'linear'"``.
    prefix : str
        Before names on the command line.

    Raises
    ------
    NotFound
        If there is no such parameter, or field of one, with the closest names.
    BadSetting
        If a value does not fit, with what was expected and what to paste.

    Examples
    --------
    >>> def soup(size: int = 16, aligned: bool = True): ...
    >>> checked(soup, parse(["size=4", "aligned=False"]), "soup")
    {'size': 4, 'aligned': False}
    >>> checked(soup, parse(["size=many"]), "soup")
    Traceback (most recent call last):
    ...
    catalog.errors.BadSetting: size of soup must be a whole number. Got 'many'. Pass such \
as --set size=16
    """
    known = what if isinstance(what, dict) else parameters(what)
    found = {}
    for name, value in values.items():
        if name not in known:
            raise NotFound(
                f"{of[:1].upper()}{of[1:]} has no parameter {name!r}. "
                f"{closest(str(name), known)}"
            )
        default = known[name].default
        if type(value) is type(default) and value == default:
            found[name] = value  # some, such as infinity, cannot be passed otherwise
            continue
        try:
            found[name] = fitting(known[name], value, (f"{prefix}{name}",))
        except Misfit as misfit:
            raise BadSetting(_told(misfit, of)) from misfit
    return found


@contextlib.contextmanager
def settings_of_file(path: str | Path) -> Iterator[None]:
    """Turn errors about settings that a file holds into one that names it.

    Raises
    ------
    ShardCorrupt
        In place of the error: nobody can pass them otherwise.
    """
    try:
        yield
    except (BadSetting, NotFound) as error:
        reason = str(error).partition(" Pass such as ")[0]
        raise ShardCorrupt(
            f"{path} holds settings that it cannot have been fitted with: {reason}"
        ) from error


def _told(misfit: Misfit, of: str) -> str:
    would_do = example(misfit.wanted, misfit.value)
    for field in reversed(misfit.at[1:]):
        would_do = {field: would_do}
    pasted = would_do if isinstance(would_do, str) else json.dumps(would_do)
    return (
        f"{'.'.join(misfit.at)} of {of} must be "
        f"{said(misfit.wanted.kind)}. Got {_plain(misfit.value)!r}. Pass such as "
        f"--set {shlex.quote(f'{misfit.at[0]}={pasted}')}"
    )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Text) else value
