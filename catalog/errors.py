"""Exceptions of the catalogue, and helpers for their messages.

A message says what is wrong, what was expected, and what to type or paste.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from catalog.printable import printable_lines

_LONGEST = 4_000
"""Characters of an error above which its middle is cut: a value from a file may be long."""

_MOST = 20
"""Maximum number of known names that an error lists: enough for all formats or verbs."""


class CatalogError(Exception):
    """Base class of expected failures; a command that raises one exits with 1.

    The text of the error is `printable`, and all lines but the first are indented: a name
    in the message can neither act on a terminal nor pass for a separate line.
    """

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > _LONGEST:
            half = _LONGEST // 2
            cut = f" ... ({len(text) - 2 * half:,} characters) ... "
            text = text[:half] + cut + text[-half:]
        return "\n  ".join(printable_lines(text))


class ShardCorrupt(CatalogError, OSError):
    """Error about a catalogue file that is missing, truncated or altered."""


class LayoutMismatch(CatalogError, ValueError):
    """Error about tensors whose names, shapes or dtypes differ from the expected ones."""


class CannotRead(CatalogError, OSError):
    """Error about a file that the system refuses to read, which does not prove damage."""


class CannotWrite(CatalogError):
    """Error about a file that the operating system refuses to write."""


class DiskFull(CannotWrite):
    """Error about a file for which the disk has no space left."""


class NotFound(CatalogError, LookupError):
    """Error about a name that the catalogue does not know."""


class BrokenPlugin(CatalogError):
    """Error about a plugin of another distribution that cannot be loaded."""


class BadSetting(CatalogError, ValueError):
    """Error about an invalid setting: a message on the command line, else a ValueError."""


def closest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that lists the known names closest to an unknown name."""
    names = sorted(set(known))
    if not names:
        return "None are known."
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
