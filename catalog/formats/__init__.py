"""Readers of foreign publications, found by the entry-point group ``phasezoo.formats``."""

from __future__ import annotations

from pathlib import Path

from catalog.console.extras import advice
from catalog.console.outlet import note
from catalog.errors import BrokenPlugin, CatalogError, NotFound, closest
from catalog.formats.format import Format
from catalog.plugins.registry import Registry

OURS = ("exported",)
"""Formats that are tried first: a file that phasezoo exported has no other format."""


FORMATS: Registry[Format] = Registry("format", object)
"""All formats by name; each entry point is an instance."""


def find_format(name: str, source: Path) -> Format:
    """Return the format with a name, or the format that recognises a source.

    Parameters
    ----------
    name : str
        Name of the format; ``"auto"`` selects the format that recognises the source.
    source : Path
        File or folder to import.

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
        raise NotFound(f"There is no file or folder {source} to import.")
    if name != "auto":
        return FORMATS[name]
    matches: list[Format] = []
    unavailable: list[str] = []
    summaries: list[str] = []
    for format_name in sorted(
        FORMATS, key=lambda format_name: (format_name not in OURS, format_name)
    ):
        try:
            reader = FORMATS[format_name]
            summaries.append(f"  {reader.name:16}{reader.summary}")
            if reader.recognises(source):
                if format_name in OURS:
                    return reader
                matches.append(reader)
        except ModuleNotFoundError as error:
            if (hint := advice(error)) is None:
                raise
            unavailable.append(f"  {format_name:16}{hint}")
        except BrokenPlugin as error:
            unavailable.append(f"  {format_name:16}{error}")
            note(str(error))
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = "\n".join(f"  --format {r.name:16}{r.summary}" for r in matches)
        raise CatalogError(
            f"{source} may be of several formats; name one with --format:\n{names}"
        )
    listed = "\n".join([*summaries, *unavailable])
    raise CatalogError(
        f"{source} looks like none of the formats; name a format with --format:\n{listed}"
    )
