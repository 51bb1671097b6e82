"""Readers of foreign publications, found by the entry-point group ``phasezoo.formats``."""

from __future__ import annotations

from pathlib import Path

from catalog.console.extras import advice
from catalog.errors import CatalogError, NotFound, closest
from catalog.formats.format import Format
from catalog.plugins.registry import Registry

OURS = ("exported",)
"""Asked first: what says that the catalogue wrote it is nothing else as well."""


FORMATS: Registry[Format] = Registry("format", object)
"""All formats; the entry point of each is an instance."""


def find_format(name: str, source: Path) -> Format:
    """The format of that name, or the one that recognises the source.

    Parameters
    ----------
    name : str
        ``"auto"`` asks every format.

    Raises
    ------
    NotFound
        If there is no such format, or the source does not exist.
    CatalogError
        If no format, or more than one, recognises the source.
    """
    if name != "auto" and name not in FORMATS:
        raise NotFound(f"No format {name!r}. {closest(name, [*FORMATS, 'auto'])}")
    if not source.exists():
        raise NotFound(f"There is no {source} to import.")
    if name != "auto":
        return FORMATS[name]
    found: list[Format] = []
    missing: list[str] = []
    known: list[str] = []
    for kind in sorted(FORMATS, key=lambda kind: (kind not in OURS, kind)):
        try:
            reader = FORMATS[kind]
            known.append(f"  {reader.name:16}{reader.summary}")
            if reader.recognises(source):
                if kind in OURS:
                    return reader
                found.append(reader)
        except ModuleNotFoundError as error:
            if (text := advice(error)) is None:
                raise
            missing.append(f"  {kind:16}{text}")
    if len(found) == 1:
        return found[0]
    if found:
        names = "\n".join(f"  --format {r.name:16}{r.summary}" for r in found)
        raise CatalogError(f"{source} may be of several formats; say which:\n{names}")
    listed = "\n".join([*known, *missing])
    raise CatalogError(
        f"{source} looks like none of the formats; name one with --format:\n{listed}"
    )
