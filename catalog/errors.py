"""Exceptions of the catalogue, and helpers for their messages.

A message says what is wrong, what was expected, and what to type or paste.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from catalog.printable import printable_lines

_MOST = 20
"""Maximum number of known names that an error lists: enough for all formats or verbs."""


class CatalogError(Exception):
    """Base class of expected failures; a command that raises one exits with 1.

    The text of the error is `printable`, and all lines but the first are indented: a name
    in the message can neither act on a terminal nor pass for a separate line.
    """

    def __str__(self) -> str:
        return "\n  ".join(printable_lines(super().__str__()))


class ShardCorrupt(CatalogError, OSError):
    """A file of the catalogue is missing, truncated or altered."""


class LayoutMismatch(CatalogError, ValueError):
    """Tensors do not have the names, shapes or dtypes that were expected."""


class CannotRead(CatalogError, OSError):
    """The operating system refuses to read a file, which does not prove damage."""


class CannotWrite(CatalogError):
    """The operating system refuses to write a file."""


class DiskFull(CannotWrite):
    """The disk has no space left for a file to be written."""


class NotFound(CatalogError, LookupError):
    """The catalogue does not know a name."""


class BadSetting(CatalogError, ValueError):
    """A setting is not valid: a message on the command line, a ValueError in Python."""


def closest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that lists the known names closest to an unknown name."""
    names = sorted(set(known))
    if not names:
        return "There are none yet."
    matches = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    if matches:
        return "Closest: " + ", ".join(matches) + "."
    listed = ", ".join(names[:_MOST]) + (", ..." if len(names) > _MOST else "")
    return f"Known: {listed}."


def missing(path: Path) -> ShardCorrupt:
    """Return the error about a missing file that a manifest names."""
    return ShardCorrupt(
        f"{path} is missing, but its manifest names it. Check that the folder is the right "
        "one and is complete. Run 'phasezoo verify', then fetch the shard "
        "again. Delete its manifest and HEAD only to give up the shard for good."
    )
