"""Files of fitted objects below a catalogue, and checks of their digests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from catalog.errors import CatalogError
from catalog.fitted.file import check
from catalog.storage.inside_folder import check_inside
from catalog.storage.leftovers import FITTED
from catalog.storage.temporaries import TEMPORARY

_SUFFIX = ".safetensors"
_BEGIN = b'{"__metadata__":{'
"""First bytes, after the length of the header, of the files that phasezoo writes."""

Wrong = Callable[[Path, str], None]
"""Function that is called with a path and what is wrong with it."""


def fitted_files(root: Path, wrong: Wrong) -> Iterator[tuple[Path, int]]:
    """Yield the files of fitted objects with their sizes, without reports and plots.

    Parameters
    ----------
    root : Path
        The catalogue's folder.
    wrong : callable
        Called for every path that cannot be listed or read, leads outside, or is not a
        file.
    """
    for name in FITTED:
        if not _inside(root, root / name, wrong):
            continue

        def report_unlisted(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                wrong(Path(error.filename), f"cannot be listed: {error.strerror}")

        for folder, folders, files in os.walk(root / name, onerror=report_unlisted):
            for entry in sorted([*folders, *files]):
                path = Path(folder, entry)
                if TEMPORARY.fullmatch(entry) or not _inside(root, path, wrong):
                    continue
                try:
                    if path.is_file() and _fitted(path):
                        yield path, path.stat().st_size
                except FileNotFoundError:  # deleted meanwhile
                    continue
                except OSError as error:
                    wrong(path, f"cannot be read: {error.strerror}")


def check_digest(path: Path, wrong: Wrong) -> bool:
    """Check the digest of a file, and return whether there is one.

    Parameters
    ----------
    path : Path
        File of a fitted object.
    wrong : callable
        Called if the digest differs.
    """
    try:
        return check(path)
    except CatalogError as error:
        if path.exists():  # otherwise deleted meanwhile
            wrong(path, str(error))
        return True


def _inside(root: Path, path: Path, wrong: Wrong) -> bool:
    """Return whether a path stays inside a catalogue, and report it if not."""
    try:
        check_inside(root, path)
    except CatalogError as error:
        wrong(path, str(error))
        return False
    return True


def _fitted(path: Path) -> bool:
    """Return whether a file holds a fitted object, by its suffix or first bytes."""
    if path.suffix == _SUFFIX:
        return True
    with path.open("rb") as file:
        return file.read(8 + len(_BEGIN))[8:] == _BEGIN
