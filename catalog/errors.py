"""Errors of the catalogue: what is wrong, what was expected, what to paste."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from catalog.printable import printable_lines

_MOST = 20
"""Known names that an error lists: all formats, and all verbs."""


class CatalogError(Exception):
    """The world is wrong: a command that meets one exits with 1.

    As text it is `printable`, and a line that is not the first is set in: no name that
    it tells can act on a terminal, or look like a line of its own.
    """

    def __str__(self) -> str:
        return "\n  ".join(printable_lines(super().__str__()))


class ShardCorrupt(CatalogError, OSError):
    """A file of the catalogue is missing, truncated or altered."""


class LayoutMismatch(CatalogError, ValueError):
    """Tensors do not have the names, shapes or dtypes that were expected."""


class CannotRead(CatalogError, OSError):
    """The operating system refuses to read, which is no proof of damage."""


class CannotWrite(CatalogError):
    """The operating system refuses to write."""


class DiskFull(CannotWrite):
    """There is no space left for what should be written."""


class NotFound(CatalogError, LookupError):
    """A name that the catalogue does not know."""


class BadSetting(CatalogError, ValueError):
    """A setting that cannot be: a message on the command line, a ValueError to programs."""


def closest(name: str, known: Iterable[str]) -> str:
    """Sentence that lists the known names closest to an unknown one."""
    names = sorted(set(known))
    if not names:
        return "There are none yet."
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    if near:
        return "Closest: " + ", ".join(near) + "."
    shown = ", ".join(names[:_MOST]) + (", ..." if len(names) > _MOST else "")
    return f"Known: {shown}."


def missing(path: Path) -> ShardCorrupt:
    """The error about a file that a manifest names and that is not there."""
    return ShardCorrupt(
        f"{path} is missing, but its manifest names it. Is this the right folder, and all "
        "of it? Run 'phasezoo verify'; then fetch the shard again. Only to give it up for "
        "good, delete its manifest and HEAD."
    )
