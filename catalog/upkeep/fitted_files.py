"""Files of fitted things below a catalogue: found, and compared with their digests."""

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
"""How files that we write begin after the length of their header, whatever their name."""

Wrong = Callable[[Path, str], None]
"""Is told which path is wrong, and what is."""


def fitted_files(root: Path, wrong: Wrong) -> Iterator[tuple[Path, int]]:
    """Give the files of fitted things and their bytes; reports and plots are none.

    Parameters
    ----------
    root : Path
        The catalogue's folder.
    wrong : callable
        Is told of what cannot be listed, leads outside, or is no file.
    """
    for name in FITTED:
        if not _inside(root, root / name, wrong):
            continue

        def refused(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                wrong(Path(error.filename), f"cannot be listed: {error.strerror}")

        for folder, folders, files in os.walk(root / name, onerror=refused):
            for own in sorted([*folders, *files]):
                path = Path(folder, own)
                if TEMPORARY.fullmatch(own) or not _inside(root, path, wrong):
                    continue
                try:
                    if path.is_file() and _fitted(path):
                        yield path, path.stat().st_size
                except FileNotFoundError:  # deleted meanwhile
                    continue
                except OSError as error:
                    wrong(path, f"cannot be read: {error.strerror}")


def is_whole(path: Path, wrong: Wrong) -> bool:
    """Tell if a file has a digest to be compared with; ``wrong`` is told if it differs."""
    try:
        return check(path)
    except CatalogError as error:
        if path.exists():  # else deleted meanwhile
            wrong(path, str(error))
        return True


def _inside(root: Path, path: Path, wrong: Wrong) -> bool:
    try:
        check_inside(root, path)
    except CatalogError as error:
        wrong(path, str(error))
        return False
    return True


def _fitted(path: Path) -> bool:
    if path.suffix == _SUFFIX:
        return True
    with path.open("rb") as file:
        return file.read(8 + len(_BEGIN))[8:] == _BEGIN
