"""Nothing of a catalogue or of a source is read, written or deleted outside of it.

A folder from a stranger may hold links that lead elsewhere, and pipes that never end.
The folder itself may be a link, and links within it may lead to each other.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from catalog.console.pasting import word
from catalog.errors import CatalogError, ShardCorrupt
from catalog.storage.whole_file import refusals


def check_inside(root: Path, path: Path) -> None:
    """Refuse a path below a catalogue that leads outside, or to no file or folder.

    What is missing is left to whoever opens it.

    Raises
    ------
    ShardCorrupt
        If it does; the error names the link and what it leads to.
    """
    at, mode = str(root), stat.S_IFDIR
    try:
        for part in path.relative_to(root).parts:
            at = os.path.join(at, part)
            mode = os.lstat(at).st_mode
            if stat.S_ISLNK(mode):
                if leads_outside(root, path):
                    raise ShardCorrupt(
                        f"{at} is a link that leads out of the catalogue, to "
                        f"{os.path.realpath(at)}. Only files inside it are read and "
                        f"written. If you trust them, copy them: cp -rL {word(root)} NEW"
                    )
                mode = os.stat(path).st_mode
                break
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise ShardCorrupt(
            f"{os.path.dirname(at)} is no folder; a folder was expected."
        ) from error
    except OSError as error:
        if isinstance(error, CatalogError):
            raise
        raise ShardCorrupt(f"{path} cannot be read: {error.strerror}.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ShardCorrupt(f"{path} is a pipe or a device; a file was expected.")


def folder_inside(root: Path, name: str) -> Path:
    """Make a folder of a catalogue, unless the catalogue itself is gone.

    Raises
    ------
    ShardCorrupt
        If it is a link that leads outside, or no folder.
    CatalogError
        If it cannot be made.
    """
    path = root / name
    check_inside(root, path)
    with refusals(path, "name another file with --to FILE"):
        path.mkdir(exist_ok=True)
    return path


def leads_outside(folder: Path, path: Path) -> bool:
    """Whether a path below a folder leads out of it, with all links followed."""
    home, target = os.path.realpath(folder), os.path.realpath(path)
    return os.path.commonpath([home, target]) != home


def check_source(source: Path) -> None:
    """Refuse a foreign folder with links that lead out of it, or with pipes.

    Raises
    ------
    CatalogError
        With the first of them by name.
    """
    if not source.is_dir():
        return
    for folder, folders, files in os.walk(source):
        for name in sorted([*folders, *files]):
            check_beside(source, Path(folder) / name)


def check_beside(folder: Path, path: Path) -> None:
    """Refuse a file of a foreign folder that is a link out of it, or a pipe.

    Raises
    ------
    CatalogError
        If it is; what is missing is left to whoever opens it.
    """
    try:
        mode = path.lstat().st_mode
        linked = stat.S_ISLNK(mode)
        if linked and leads_outside(folder, path):
            raise CatalogError(
                f"{path} is a link that leads out of {folder}, to "
                f"{os.path.realpath(path)}, and is not followed. If you trust it, "
                f"import a copy: cp -rL {word(folder)} NEW"
            )
        mode = path.stat().st_mode if linked else mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise CatalogError(f"{path} is a pipe or a device and cannot be imported.")
