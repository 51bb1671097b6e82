"""Readers of foreign publications, found by the entry-point group ``phasezoo.formats``."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from catalog.console.extras import advice
from catalog.errors import CatalogError, NotFound, closest
from catalog.formats.format import Format

OURS = ("exported",)
"""Asked first: what says that the catalogue wrote it is nothing else as well."""


def format_points() -> dict[str, EntryPoint]:
    """Where each format is, by name; nothing is imported."""
    return {point.name: point for point in entry_points(group="phasezoo.formats")}


def load_format(point: EntryPoint) -> Format:
    """Import one format: the entry point is an instance, or a class without arguments."""
    found = point.load()
    reader: Format = found() if isinstance(found, type) else found
    return reader


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
    points = format_points()
    if name != "auto" and name not in points:
        raise NotFound(f"No format {name!r}. {closest(name, [*points, 'auto'])}")
    if not source.exists():
        raise NotFound(f"There is no {source} to import.")
    if name != "auto":
        return load_format(points[name])
    found: list[Format] = []
    missing: list[str] = []
    known: list[str] = []
    ours = sorted(points.values(), key=lambda p: (p.name not in OURS, p.name))
    for point in ours:
        try:
            reader = load_format(point)
            known.append(f"  {reader.name:16}{reader.summary}")
            if reader.recognises(source):
                if point.name in OURS:
                    return reader
                found.append(reader)
        except ModuleNotFoundError as error:
            if (text := advice(error)) is None:
                raise
            missing.append(f"  {point.name:16}{text}")
    if len(found) == 1:
        return found[0]
    if found:
        names = "\n".join(f"  --format {r.name:16}{r.summary}" for r in found)
        raise CatalogError(f"{source} may be of several formats; say which:\n{names}")
    listed = "\n".join([*known, *missing])
    raise CatalogError(
        f"{source} looks like none of the formats; name one with --format:\n{listed}"
    )
