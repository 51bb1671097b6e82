"""Place of the files of fitted probes: in the catalogue, or the current folder."""

from __future__ import annotations

from pathlib import Path

from catalog.catalog import Catalog
from catalog.storage.inside_folder import check_inside, folder_inside
from catalog.storage.whole_file import folder_of
from probes import file as probe_file

FOLDER = "probes"
"""Folder of a catalogue for fitted probes."""


def kept_file(catalog: Catalog, name: str, to: str | Path | None = None) -> Path:
    """Return the path of the file of a fitted probe; no folder is created yet.

    Parameters
    ----------
    name : str
        Name of the file in the catalogue, or in the current folder if nothing is written to
        the catalogue because it is remote.
    to : str or Path, optional
        File that was asked for.

    Raises
    ------
    ShardCorrupt
        If a link of the catalogue leads outside.
    """
    if to is not None:
        return Path(to)
    if not catalog.writable:
        return Path.cwd() / name
    path = catalog.root / FOLDER / name
    check_inside(catalog.root, path)
    return path


def make_folder(catalog: Catalog, to: str | Path | None = None) -> None:
    """Create the folder of the file that `kept_file` named."""
    if to is not None:
        folder_of(to, instead=probe_file.INSTEAD)
    elif catalog.writable:
        folder_inside(catalog.root, FOLDER)
